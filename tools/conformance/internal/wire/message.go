package wire

import (
	"strconv"
	"strings"
)

// Framing is how a message's body is delimited.
type Framing string

// The framings.
const (
	None    Framing = "no body"
	Length  Framing = "Content-Length"
	Chunked Framing = "chunked"
	Close   Framing = "until close"
	Tunnel  Framing = "tunnel" // behind a 101: bytes of another protocol
)

// Field is one header or trailer line, as it came.
type Field struct {
	Name, Value string // the value without the blanks around it
	Raw         string // the line, without its end
}

// Message is a request or an answer, as far as it has come.
type Message struct {
	Raw      string // the head's bytes, without the empty line
	Line     string // the first line
	Fields   []Field
	Framing  Framing
	Body     string
	Trailers []Field
	// Flaws are what two readers could understand in two ways.
	Flaws []string
	// HasHead says that the head is whole, Whole that the message is.
	HasHead, Whole bool
	// Broken says that the rest cannot be read: a chunk is malformed.
	Broken bool
	// Chunks is how many chunks the body came in.
	Chunks int
	// Size is how many bytes the message took. Of a message that is not whole
	// it says nothing.
	Size int
}

// Method returns a request's method.
func (m *Message) Method() string {
	method, _, _ := strings.Cut(m.Line, " ")
	return method
}

// Status returns an answer's status, or 0.
func (m *Message) Status() int {
	const at = len("HTTP/1.1 ")
	if len(m.Line) < at+3 {
		return 0
	}
	status, err := strconv.Atoi(m.Line[at : at+3])
	if err != nil {
		return 0
	}
	return status
}

// Values returns the values of all fields with a name, in any spelling.
func (m *Message) Values(name string) []string { return values(m.Fields, name) }

// Has says whether a field with the name is there.
func (m *Message) Has(name string) bool { return len(m.Values(name)) != 0 }

// HasToken says whether a list field holds a token.
func (m *Message) HasToken(name, token string) bool {
	for part := range strings.SplitSeq(strings.Join(m.Values(name), ","), ",") {
		if strings.EqualFold(strings.Trim(part, " \t"), token) {
			return true
		}
	}
	return false
}

func values(fields []Field, name string) []string {
	var found []string
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			found = append(found, f.Value)
		}
	}
	return found
}

func (m *Message) flaw(what string) { m.Flaws = append(m.Flaws, what) }
