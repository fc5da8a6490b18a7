package wire

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Request reads the first request of b.
func Request(b []byte) *Message {
	m := &Message{}
	rest := m.readHead(b)
	if !m.HasHead {
		return m
	}
	parts := strings.Split(m.Line, " ")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" {
		m.flaw(fmt.Sprintf("the request line %q has not three words", m.Line))
	}
	switch hosts := m.Values("Host"); {
	case len(hosts) > 1:
		m.flaw("several Host lines")
	case len(hosts) == 0 && strings.HasSuffix(m.Line, "/1.1"):
		m.flaw("no Host line")
	}
	m.readBody(rest, len(b), None, false)
	return m
}

// Answer reads the first answer of b. Head says that it answers a HEAD, ended
// that no more bytes will come.
func Answer(b []byte, head, ended bool) *Message {
	m := &Message{}
	rest := m.readHead(b)
	if !m.HasHead {
		return m
	}
	status := m.Status()
	if !strings.HasPrefix(m.Line, "HTTP/1.") || status < 100 {
		m.flaw(fmt.Sprintf("the status line %q is malformed", m.Line))
	}
	switch {
	case status == 101:
		m.Framing, m.Body, m.Whole, m.Size = Tunnel, string(rest), true, len(b)
	case head, status/100 == 1, status == 204, status == 304:
		if status != 304 && !head && (m.Has("Content-Length") || m.Has("Transfer-Encoding")) {
			m.flaw(fmt.Sprintf("a %d declares a body", status))
		}
		m.checkFraming()
		m.Framing, m.Whole, m.Size = None, true, len(b)-len(rest)
	default:
		m.readBody(rest, len(b), Close, ended)
	}
	return m
}

// readHead reads the first line and the fields, and returns what is behind
// the empty line.
func (m *Message) readHead(b []byte) []byte {
	rest := b
	for first := true; ; first = false {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return nil
		}
		line := string(rest[:end])
		rest = rest[end+1:]
		whole := strings.HasSuffix(line, "\r")
		line = strings.TrimSuffix(line, "\r")
		if !whole {
			m.flaw(fmt.Sprintf("the line %q ends in a bare LF", line))
		}
		// Of a value RFC 9110, 5.5 forbids three bytes only to be passed on.
		if i := strings.IndexFunc(line, isControl); i >= 0 && m.Line == "" || strings.ContainsAny(line, "\r\x00") {
			m.flaw(fmt.Sprintf("a control byte in the line %q", line))
		}
		switch {
		case line == "" && first:
			m.flaw("an empty line before the message")
			continue
		case line == "":
			m.HasHead = true
			m.Raw = strings.TrimRight(string(b[:len(b)-len(rest)]), "\r\n")
			return rest
		case m.Line == "":
			m.Line = line
		default:
			m.Fields = append(m.Fields, m.field(line))
		}
	}
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

func isNoToken(r rune) bool { return r <= ' ' || r >= 0x7f }

// field reads one line.
func (m *Message) field(line string) Field {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" || strings.ContainsAny(name, "\"(),/;<=>?@[\\]{}") || strings.IndexFunc(name, isNoToken) >= 0 {
		m.flaw(fmt.Sprintf("the field line %q is malformed", line))
	}
	return Field{Name: name, Value: strings.Trim(value, " \t"), Raw: line}
}

// checkFraming notes what is wrong with the framing fields.
func (m *Message) checkFraming() {
	codings, lengths := m.Values("Transfer-Encoding"), m.Values("Content-Length")
	switch {
	case len(codings) != 0 && len(lengths) != 0:
		m.flaw("both Transfer-Encoding and Content-Length")
	case len(lengths) > 1:
		m.flaw("several Content-Length lines")
	case len(codings) > 1:
		m.flaw("several Transfer-Encoding lines")
	}
	if len(codings) != 0 && !strings.EqualFold(codings[0], "chunked") {
		m.flaw(fmt.Sprintf("the Transfer-Encoding %q", codings[0]))
	}
	if len(lengths) != 0 && (lengths[0] == "" || strings.Trim(lengths[0], "0123456789") != "") {
		m.flaw(fmt.Sprintf("the Content-Length %q", lengths[0]))
	}
}

// readBody reads the body in rest, the end of a message of so many bytes. A
// message that declares no framing has the default one.
func (m *Message) readBody(rest []byte, size int, otherwise Framing, ended bool) {
	m.checkFraming()
	codings, lengths := m.Values("Transfer-Encoding"), m.Values("Content-Length")
	switch {
	case len(codings) != 0:
		m.Framing = Chunked
		rest = m.readChunks(rest)
	case len(lengths) != 0:
		m.Framing = Length
		n, err := strconv.ParseUint(lengths[0], 10, 63)
		if err != nil {
			n, m.Broken = math.MaxInt64, true
		}
		got := min(n, uint64(len(rest)))
		m.Body, m.Whole = string(rest[:got]), got == n
		rest = rest[got:]
	case otherwise == Close:
		m.Framing, m.Body, m.Whole = Close, string(rest), ended
		rest = nil
	default:
		m.Framing, m.Whole = None, true
	}
	m.Size = size - len(rest)
}

// readChunks reads a chunked body and its trailers.
func (m *Message) readChunks(rest []byte) []byte {
	var body []byte
	defer func() { m.Body = string(body) }()
	for {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return rest
		}
		size, ok := m.chunkSize(string(rest[:end]))
		if !ok {
			m.Broken = true
			return rest
		}
		if size == 0 {
			return m.readTrailers(rest[end+1:])
		}
		rest = rest[end+1:]
		data := rest[:min(size, uint64(len(rest)))]
		body = append(body, data...)
		rest = rest[len(data):]
		if len(rest) < 2 {
			return rest
		}
		if string(rest[:2]) != "\r\n" {
			m.flaw(fmt.Sprintf("%q behind a chunk", rest[:2]))
			m.Broken = true
			return rest
		}
		rest = rest[2:]
		m.Chunks++
	}
}

func (m *Message) chunkSize(line string) (uint64, bool) {
	digits, whole := strings.CutSuffix(line, "\r")
	digits, _, _ = strings.Cut(digits, ";")
	size, err := strconv.ParseUint(digits, 16, 63)
	if !whole || err != nil || strings.ContainsAny(digits, "+-_xX") {
		m.flaw(fmt.Sprintf("the chunk line %q", line))
		return 0, false
	}
	return size, true
}

func (m *Message) readTrailers(rest []byte) []byte {
	for {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return rest
		}
		line, whole := strings.CutSuffix(string(rest[:end]), "\r")
		rest = rest[end+1:]
		if !whole {
			m.flaw(fmt.Sprintf("the trailer line %q ends in a bare LF", line))
		}
		if line == "" {
			m.Whole = true
			return rest
		}
		m.Trailers = append(m.Trailers, m.field(line))
	}
}
