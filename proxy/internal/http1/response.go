package http1

import "bytes"

// Response is an answer's head. It may be scanned into again.
type Response struct {
	head
	Status int
	// Line is the status line after the version and its blank: status and
	// reason, as they came.
	Line []byte
	// Chunked, or UntilClose when only the connection's end tells, or Length.
	Chunked    bool
	UntilClose bool
	// Protocol is what 101 switches to; nil: it does not say.
	Protocol []byte
	// Odd says that both framings were there: the connection is not used again
	// (RFC 9112, 6.3).
	Odd bool
}

// Scan reads an answer's head at the beginning of b, and returns where its body
// begins; 0: more is to come. toHead is an answer to HEAD.
func (r *Response) Scan(b []byte, fieldsMax int, toHead bool) (int, *Problem) {
	r.reset()
	r.Status, r.Line, r.Protocol, r.Chunked, r.UntilClose, r.Odd = 0, nil, nil, false, false, false
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		if len(b) >= len("HTTP/1.") && string(b[:7]) != "HTTP/1." {
			return 0, problemStatus
		}
		return 0, partialLine(b)
	}
	if end == 0 || b[end-1] != '\r' {
		return 0, problemLine
	}
	if p := r.scanLine(b[:end-1]); p != nil {
		return 0, p
	}
	body, p := r.scanFields(b, end+1, fieldsMax, false)
	if p != nil || body == 0 {
		return 0, p
	}
	r.Head = b[:body]
	if p := r.finish(toHead); p != nil {
		return 0, p
	}
	return body, nil
}

func (r *Response) scanLine(line []byte) *Problem {
	const version = len("HTTP/1.1 ")
	if len(line) < version+3 || line[version-1] != ' ' || len(line) > version+3 && line[version+3] != ' ' {
		return problemStatus
	}
	minor, p := scanVersion(line[:version-1])
	if p != nil {
		return problemStatus
	}
	r.Minor, r.Line = minor, line[version:]
	for _, c := range r.Line[:3] {
		if c < '0' || c > '9' {
			return problemStatus
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	if r.Status < 100 || !cleanValue(r.Line, false) {
		return problemStatus
	}
	return nil
}

// finish finds the framing (RFC 9112, 6.3).
func (r *Response) finish(toHead bool) *Problem {
	switch {
	case r.Status < 200, r.Status == 204:
		// No framing belongs here, and none is passed on.
		r.Length = 0
		for i, l := range r.Lines {
			if l.Kind == Upgrade && r.Upgrading && r.Status == 101 && len(r.Fields[i].Value) != 0 {
				r.Protocol = r.Fields[i].Value
			}
		}
		return nil
	case r.chunkedSeen && r.Minor == 0:
		return problemOldCoding
	case toHead, r.Status == 304:
		r.Chunked = r.chunkedSeen
		return nil
	case r.chunkedSeen:
		r.Chunked, r.Length, r.Odd = true, -1, r.HasLength
	case !r.HasLength:
		r.UntilClose, r.Length = true, -1
	}
	return nil
}
