package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/internal/config"
)

const (
	textMax     = 4096 // bytes of a path, a URL, a token
	labelMax    = 128  // bytes of a header's, a cookie's, a parameter's or a claim's name
	patternMax  = 256  // bytes of a path pattern
	segmentsMax = 32   // of a path pattern
	idSegment   = "{id}"
)

const nameWords = "1 to 64 letters, digits, '.', '_' or '-'"

// form is what a text may be.
type form struct {
	text   string // for people
	ok     func(string) bool
	secret bool // a problem does not show the text
}

// formNamed returns the form that a bounds tag names.
func formNamed(name string) (form, bool) {
	switch name {
	case "host:port":
		return form{text: "host:port", ok: address}, true
	case "server":
		return form{text: "host:port, both given", ok: server}, true
	case "host":
		return form{text: "a name or an address", ok: func(s string) bool {
			return shortWord(s, hostMax) && !strings.ContainsAny(s, "/@?#")
		}}, true
	case "name":
		return form{text: nameWords, ok: validName}, true
	case "token":
		return form{text: "1 to 128 letters, digits or any of !#$%&'*+-.^_`|~", ok: validToken}, true
	case "label":
		return form{text: "1 to 128 bytes, no control bytes", ok: func(s string) bool { return line(s, labelMax) }}, true
	case "text":
		return form{text: "1 to 4096 bytes, no control bytes", ok: func(s string) bool { return line(s, textMax) }}, true
	case "secret":
		return form{text: "1 to 4096 bytes, no control bytes", ok: func(s string) bool { return line(s, textMax) }, secret: true}, true
	case "file":
		return form{text: "the path of a file", ok: func(s string) bool { return line(s, textMax) }}, true
	case "folder":
		return form{text: "the path of a folder", ok: func(s string) bool { return line(s, textMax) }}, true
	case "place":
		return form{text: "stdout, stderr, none or the path of a file", ok: func(s string) bool { return line(s, textMax) }}, true
	case "network":
		return form{text: "a network such as 10.0.0.0/8", ok: func(s string) bool {
			_, err := netip.ParsePrefix(s)
			return err == nil
		}}, true
	case "agent":
		return form{text: "host:port, http://host:port, https://host:port or unix:///path", ok: agent}, true
	case "key folder":
		return form{text: "names of letters, digits, '.', '_' or '-', with / between them, 256 bytes at most", ok: keyFolder}, true
	case "key":
		return form{text: "an Ed25519 public key, as PEM or as base64 of 32 bytes, or the path of a file with one", ok: publicKeyOrFile}, true
	case "url":
		return form{text: "an http or https URL", ok: webURL}, true
	case "path":
		return form{text: "a path that begins with /", ok: func(s string) bool {
			return shortWord(s, textMax) && s[0] == '/' && !strings.Contains(s, "#")
		}}, true
	case "user":
		return form{text: "a user id of 1 to 256 bytes", ok: func(s string) bool { return s != "" && len(s) <= bucketmap.UserIDMax }}, true
	case "json path":
		return form{text: "a JSON path such as $.items[*].id or $..at", ok: jsonPath}, true
	case "expression":
		return form{text: "a regular expression (RE2) of 1 to 4096 bytes", ok: expression}, true
	case "pattern":
		return form{text: "a path of 1 to 32 segments, of which exactly one is {id} and each other has at most one *", ok: pattern}, true
	default:
		return form{}, false
	}
}

// hostMax bounds a host with its port: a name of 253 bytes (RFC 1035,
// 2.3.4) and ":65535".
const hostMax = 253 + 6

func address(s string) bool {
	var p config.Problems
	p.Address("", s)
	return p.Err() == nil
}

func server(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || !shortWord(host, hostMax) || strings.ContainsAny(host, "/@?#") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// agent is where Consul is.
func agent(s string) bool {
	if path, ok := strings.CutPrefix(s, "unix://"); ok {
		return shortWord(path, textMax)
	}
	if !strings.Contains(s, "://") {
		return server(s)
	}
	u, err := url.Parse(s)
	return err == nil && webURL(s) && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

const keyFolderMax = 256 // bytes

func keyFolder(s string) bool {
	return len(s) <= keyFolderMax && !slices.ContainsFunc(strings.Split(s, "/"), func(name string) bool { return !validName(name) })
}

// publicKeyOrFile does not open the file.
func publicKeyOrFile(s string) bool {
	if !isKeyText(s) {
		return line(s, textMax)
	}
	_, err := binary.ParsePublicKey(s)
	return err == nil
}

func webURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= textMax && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// pattern checks a path of which one segment is the user id.
func pattern(s string) bool {
	if !shortWord(s, patternMax) || s[0] != '/' || strings.ContainsAny(s, "%?#") {
		return false
	}
	segments := strings.Split(strings.TrimSuffix(s[1:], "/"), "/")
	ids := 0
	for _, one := range segments {
		switch {
		case one == idSegment:
			ids++
		case one == "", strings.ContainsAny(one, "{}"), strings.Count(one, "*") > 1:
			return false
		}
	}
	return ids == 1 && len(segments) <= segmentsMax
}

// line is a text of 1 to max bytes with no control bytes.
func line(s string, max int) bool {
	return s != "" && len(s) <= max && !slices.ContainsFunc([]byte(s), func(b byte) bool { return b < ' ' || b == 0x7f })
}

// shortWord is a text of 1 to max printable ASCII bytes with no blanks.
func shortWord(s string, max int) bool {
	return s != "" && len(s) <= max && !slices.ContainsFunc([]byte(s), func(b byte) bool { return b <= ' ' || b >= 0x7f })
}

// validToken is RFC 9110, 5.6.2.
func validToken(s string) bool {
	return shortWord(s, labelMax) && !strings.ContainsAny(s, `"(),/:;<=>?@[\]{}`)
}

func nameByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '.' || b == '_' || b == '-'
}

func validName(name string) bool {
	return len(name) >= 1 && len(name) <= bucketmap.NameMax &&
		!slices.ContainsFunc([]byte(name), func(b byte) bool { return !nameByte(b) })
}
