package http1

import (
	"bytes"
	"encoding/binary"
)

// Problem is why a message is refused.
type Problem struct {
	Status int // to a client that sent it
	What   string
}

func (p *Problem) Error() string { return p.What }

func bad(what string) *Problem { return &Problem{400, what} }

// The problems of a head, made once: anybody can cause them.
var (
	problemLine       = bad("a line of the head does not end in CRLF")
	problemField      = bad("a header line is not well formed")
	problemFold       = bad("a header line is folded")
	problemValue      = bad("a header value holds a control character")
	problemFields     = &Problem{431, "the head has too many header lines"}
	problemLengths    = bad("Content-Length and Transfer-Encoding: want one of them, once")
	problemLength     = bad("Content-Length is no number")
	problemCoding     = bad("the only Transfer-Encoding is chunked")
	problemOldCoding  = bad("HTTP/1.0 has no Transfer-Encoding")
	problemRequest    = bad("the request line is not well formed")
	problemTarget     = bad("the request's target is neither a path nor a URL")
	problemConnect    = bad("CONNECT is not for this server")
	problemVersion    = &Problem{505, "the HTTP version is neither 1.1 nor 1.0"}
	problemHost       = bad("Host is missing, twice there, or no host")
	problemHostTarget = bad("Host and the request's target disagree")
	problemStatus     = bad("the status line is not well formed")
)

// head is what requests and answers have in common.
type head struct {
	Minor  int // 0 or 1, of the HTTP version
	Fields []Field
	Lines  []Line // of Fields
	Head   []byte // all of it, the empty line included

	// Length is of the body; -1: chunked. HasLength: Content-Length is there.
	Length    int64
	HasLength bool
	Close     bool // Connection: close
	KeepAlive bool // Connection: keep-alive
	Upgrading bool // Connection: upgrade
	// Names says that Connection names other fields: they end here.
	Names bool

	chunkedSeen bool
}

func (h *head) reset() {
	fields, lines := h.Fields[:0], h.Lines[:0]
	*h = head{Fields: fields, Lines: lines}
}

// Named says whether Connection names a field. Framing and routing are never
// taken for a connection's affair.
func (h *head) Named(name []byte) bool {
	if !h.Names {
		return false
	}
	switch KindOf(name) {
	case Host, ContentLength, TransferEncoding, Drover:
		return false
	default:
	}
	for i, l := range h.Lines {
		if l.Kind == Connection && hasName(h.Fields[i].Value, name) {
			return true
		}
	}
	return false
}

func hasName(list, name []byte) bool {
	for len(list) != 0 {
		item, rest, _ := bytes.Cut(list, comma)
		if sameFold(trim(item), name) {
			return true
		}
		list = rest
	}
	return false
}

// sameFold compares but for the case of ASCII letters: bytes.EqualFold takes
// U+212A for a K.
func sameFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower[a[i]] != lower[b[i]] {
			return false
		}
	}
	return true
}

// scanFields reads header lines from b[at:], up to the empty one, and returns
// where the body begins; 0: more is to come.
func (h *head) scanFields(b []byte, at, fieldsMax int, strict bool) (int, *Problem) {
	for {
		end := bytes.IndexByte(b[at:], '\n')
		if end < 0 {
			return 0, partialLine(b[at:])
		}
		if end == 0 || b[at+end-1] != '\r' {
			return 0, problemLine
		}
		if end == 1 {
			return at + 2, nil
		}
		if len(h.Fields) == fieldsMax {
			return 0, problemFields
		}
		line := b[at : at+end-1]
		if p := h.scanField(line, at, strict); p != nil {
			return 0, p
		}
		at += end + 1
	}
}

// partialLine refuses what cannot become well formed any more: a CR that no LF
// follows.
func partialLine(line []byte) *Problem {
	if i := bytes.IndexByte(line, '\r'); i >= 0 && i != len(line)-1 {
		return problemLine
	}
	return nil
}

// scanField reads one line, less its CRLF, that begins at a place of the head.
func (h *head) scanField(line []byte, at int, strict bool) *Problem {
	n := tokenLen(line)
	if n == 0 || n == len(line) || line[n] != ':' {
		if line[0] == ' ' || line[0] == '\t' {
			return problemFold
		}
		return problemField
	}
	value := trim(line[n+1:])
	if !cleanValue(value, strict) {
		return problemValue
	}
	f := Field{line[:n], value}
	kind := KindOf(f.Name)
	h.Fields = append(h.Fields, f)
	h.Lines = append(h.Lines, Line{kind, at, at + len(line) + 2})
	switch kind {
	case ContentLength:
		if h.HasLength {
			return problemLengths
		}
		length, ok := parseLength(value)
		if !ok {
			return problemLength
		}
		h.HasLength, h.Length = true, length
	case TransferEncoding:
		if h.chunkedSeen {
			return problemCoding
		}
		if !EqualFold(value, "chunked") {
			return problemCoding
		}
		h.chunkedSeen = true
	case Connection:
		h.scanConnection(value)
	default:
	}
	return nil
}

func (h *head) scanConnection(value []byte) {
	if EqualFold(value, "keep-alive") {
		h.KeepAlive = true
		return
	}
	for len(value) != 0 {
		item, rest, _ := bytes.Cut(value, comma)
		item, value = trim(item), rest
		switch {
		case len(item) == 0:
		case EqualFold(item, "close"):
			h.Close = true
		case EqualFold(item, "keep-alive"):
			h.KeepAlive = true
		case EqualFold(item, "upgrade"):
			h.Upgrading = true
		default:
			h.Names = true
		}
	}
}

// lengthDigits bounds Content-Length: 18 digits fit an int64.
const lengthDigits = 18

func parseLength(value []byte) (int64, bool) {
	if len(value) == 0 {
		return 0, false
	}
	for len(value) > 1 && value[0] == '0' {
		value = value[1:]
	}
	if len(value) > lengthDigits {
		return 0, false
	}
	var n int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// cleanValue says whether a value holds no control character but the tab; not
// strict, only CR and NUL are refused (LF ended the line). Eight bytes at a
// time, the last eight of them some that were seen before.
func cleanValue(b []byte, strict bool) bool {
	if len(b) < 8 {
		return cleanBytes(b, strict)
	}
	last := b[len(b)-8:]
	for len(b) > 8 {
		if controls(binary.LittleEndian.Uint64(b)) && !cleanBytes(b[:8], strict) {
			return false
		}
		b = b[8:]
	}
	return !controls(binary.LittleEndian.Uint64(last)) || cleanBytes(last, strict)
}

// controls says whether one of eight bytes is below 0x20, or DEL. It is exact
// for the lowest of them: a borrow only ever comes from one that is.
func controls(w uint64) bool {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	del := w ^ ones*0x7f
	return ((w-ones*0x20)&^w|(del-ones)&^del)&highs != 0
}

func cleanBytes(b []byte, strict bool) bool {
	for _, c := range b {
		if c >= 0x20 && c != 0x7f || c == '\t' {
			continue
		}
		if strict || c == 0 || c == '\r' {
			return false
		}
	}
	return true
}
