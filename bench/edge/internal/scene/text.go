package scene

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// BodyLength is the length of every answer's body in bytes.
const BodyLength = 1024

// The user stands in the body behind bodyBegin, the datacenter behind both
// and bodyMiddle.
const (
	bodyBegin  = `{"user":"`
	bodyMiddle = `","datacenter":"`
)

// BodyUser is where the user id stands in an answer's body.
const BodyUser = len(bodyBegin)

// Request returns a browser's request, about 650 bytes, and where the
// user id stands in it.
func Request() (head []byte, user int) {
	head = []byte(strings.Join([]string{
		"GET /1/user/-/activities/steps/date/today/1d.json?limit=50 HTTP/1.1",
		"Host: api.example.com",
		"Connection: keep-alive",
		`sec-ch-ua: "Chromium";v="128", "Not;A=Brand";v="24"`,
		"sec-ch-ua-mobile: ?0",
		`sec-ch-ua-platform: "Linux"`,
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
		"Accept: application/json, text/plain, */*",
		"X-User-Id: " + UserPrefix + "000000",
		"Referer: https://www.example.com/dashboard",
		"Accept-Encoding: gzip, deflate, br",
		"Accept-Language: en-US,en;q=0.9,de;q=0.8",
		"Cookie: session=7c1f4f0a9be14b7c9b1f; locale=en_US; consent=1; ab=edge-b; _ga=GA1.2.1234567890.1712345678",
		"\r\n",
	}, "\r\n"))
	return head, bytes.Index(head, []byte(UserPrefix))
}

// Answer returns a whole answer of a datacenter's application, and where its
// body begins.
func Answer(datacenter int, date string) (answer []byte, body int) {
	text := bodyBegin + UserPrefix + "000000" + bodyMiddle + Datacenters()[datacenter] + `","pad":"`
	text += strings.Repeat("x", BodyLength-len(text)-2) + `"}`
	head := strings.Join([]string{
		"HTTP/1.1 200 OK",
		"Date: " + date,
		"Content-Type: application/json; charset=utf-8",
		fmt.Sprintf("Content-Length: %d", BodyLength),
		"Cache-Control: private, max-age=0, must-revalidate",
		`ETag: "5f2b9c1d-400"`,
		"Vary: Accept-Encoding",
		"Set-Cookie: session=" + strings.Repeat("0123456789abcdef", 14) +
			"; Path=/; Domain=example.com; Max-Age=1209600; HttpOnly; Secure; SameSite=Lax",
		"\r\n",
	}, "\r\n")
	return []byte(head + text), len(head)
}

// The ways in which an answer can be wrong.
var (
	ErrStatus     = errors.New("the answer's status is not 200")
	ErrLength     = errors.New("the answer has no Content-Length of 1024")
	ErrSurplus    = errors.New("bytes follow the answer")
	ErrUser       = errors.New("the answer is another user's")
	ErrDatacenter = errors.New("the answer comes from the wrong datacenter")
)

// Checker checks answers. Its zero value is not usable: NewChecker makes one.
type Checker struct {
	status, end, length []byte
	behind              [2][]byte // what follows the user in a datacenter's body
}

// NewChecker returns a checker, which may be used by any number of goroutines.
func NewChecker() *Checker {
	c := &Checker{status: []byte("HTTP/1.1 200 "), end: []byte("\r\n\r\n")}
	c.length = fmt.Appendf(nil, "ength: %d\r\n", BodyLength) // in either case: Content-Length, content-length
	for i, name := range Datacenters() {
		c.behind[i] = []byte(bodyMiddle + name + `"`)
	}
	return c
}

// Check says whether the bytes read are a whole answer, and whether it is the
// right one for the user, given as it stands in the request.
func (c *Checker) Check(read, user []byte, datacenter int) (whole bool, err error) {
	end := bytes.Index(read, c.end)
	if end < 0 {
		return false, nil
	}
	head, body := read[:end+2], read[end+4:]
	switch {
	case !bytes.HasPrefix(head, c.status):
		return true, ErrStatus
	case !bytes.Contains(head, c.length):
		return true, ErrLength
	case len(body) < BodyLength:
		return false, nil
	case len(body) > BodyLength:
		return true, ErrSurplus
	case !bytes.Equal(body[BodyUser:BodyUser+UserLength], user):
		return true, ErrUser
	case !bytes.HasPrefix(body[BodyUser+UserLength:], c.behind[datacenter]):
		return true, ErrDatacenter
	}
	return true, nil
}
