package script

import "strings"

// Case is one row of the suite.
type Case struct {
	Name  string
	Group string
	RFC   string // the section that decides, such as "9112 6.1"
	Why   string // one line
	// Send is what the client sends, when Steps is empty.
	Send  string
	Steps []Step
	// Replies are the origin's, to its first request, its second, and so on;
	// the last one is also for all that follow. None: 200 with the body "ok".
	Replies []Reply
	// Answers is how many final answers each client waits for. 0 is 1; Nothing
	// is none.
	Answers int
	// Want judges the result.
	Want Check
	// Drover replaces Want for Drover, where its contract is narrower than the
	// RFC.
	Drover Check
	// Stray allows bytes behind the last answer, and flaws in answers.
	Stray bool
}

// Nothing is for Case.Answers: no answer is waited for.
const Nothing = -1

// End is what the origin does with the connection after a reply.
type End int

// The ends.
const (
	Keep  End = iota
	Close     // no more bytes; goes on reading
	Reset     // the connection is reset at once
)

// Reply is what the origin does when a request comes.
type Reply struct {
	AtHead string // written once the head is there
	AtBody string // written once the request is whole
	Then   End    // after the last of the two that is not empty
	// AtOnce applies Then at the head though nothing is written.
	AtOnce bool
}

// Answer is a reply to a whole request.
func Answer(lines ...string) Reply { return Reply{AtBody: Text(lines...)} }

// Text joins lines with CRLF.
func Text(lines ...string) string { return strings.Join(lines, "\r\n") }

// Get is a GET of the target with these further field lines.
func Get(target string, lines ...string) string {
	return Head("GET "+target+" HTTP/1.1", append([]string{"Host: edge.test"}, lines...)...)
}

// Post is a POST to / of a body, framed by the field lines given.
func Post(body string, lines ...string) string {
	return Head("POST / HTTP/1.1", append([]string{"Host: edge.test"}, lines...)...) + body
}

// Head is a head of these lines, the empty one added.
func Head(line string, fields ...string) string {
	return Text(append(append([]string{line}, fields...), "", "")...)
}
