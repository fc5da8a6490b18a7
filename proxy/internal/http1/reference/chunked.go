package reference

import (
	"bytes"
	"strconv"
	"strings"
)

// body reads what a request's head has promised.
func (r *reader) body(request *Request) outcome {
	if request.Chunked {
		return r.chunked(request)
	}
	if there := int64(len(r.b) - r.at); there < request.Length {
		request.Body = string(r.b[r.at:])
		return incomplete
	}
	end := r.at + int(request.Length)
	request.Body = string(r.b[r.at:end])
	r.at = end
	return read
}

// chunked reads chunks and trailers (RFC 9112, 7.1). Every byte of the framing
// is judged as it comes.
func (r *reader) chunked(request *Request) outcome {
	extensions := 0
	for {
		size, extension, o := r.chunkHead(extensionsMax + len(request.Body)/extensionsShare - extensions)
		if o != read {
			return o
		}
		extensions += extension
		if size == 0 {
			return r.trailers(request)
		}
		n := min(size, int64(len(r.b)-r.at))
		request.Body += string(r.b[r.at : r.at+int(n)])
		r.at += int(n)
		end := r.b[r.at:]
		switch {
		case n < size:
			return incomplete
		case bytes.HasPrefix(end, []byte("\r\n")):
			r.at += 2
		case len(end) == 0, string(end) == "\r":
			return incomplete
		default:
			return refused
		}
	}
}

// chunkHead reads the line before a chunk: its size, and how many bytes of
// extensions it had, of which no more than allowance may come.
func (r *reader) chunkHead(allowance int) (size int64, extension int, o outcome) {
	rest := r.b[r.at:]
	whole := false
	if lf := bytes.IndexByte(rest, '\n'); lf >= 0 {
		rest, whole = rest[:lf+1], true
	}
	text := latin1(rest)
	digits, tail, ok := r.chunkLine(text)
	switch {
	case len(rest) > chunkLineMax:
		return 0, 0, refused
	case whole && !ok, !whole && !r.chunkBegins(text):
		return 0, 0, refused
	case !ok:
		tail = strings.TrimLeft(strings.TrimSuffix(text, "\r"), "0123456789abcdefABCDEF")
	}
	// Blanks and an extension's bytes count, its first semicolon does not.
	extension = len([]rune(tail))
	if strings.Contains(tail, ";") {
		extension--
	}
	switch {
	case extension > allowance:
		return 0, 0, refused
	case !whole:
		return 0, 0, incomplete
	}
	size, _ = strconv.ParseInt(digits, 16, 64)
	r.at += len(rest)
	return size, extension, read
}

// trailers reads the trailer section. Fields that frame are refused there (RFC
// 9110, 6.5.1).
func (r *reader) trailers(request *Request) outcome {
	begin := r.at
	r.late = true
	defer func() { r.late = false }()
	fields, o := r.fields(r.limits.TrailerFields, r.limits.TrailerBytes)
	if o == refused {
		return refused
	}
	if o == incomplete && len(r.b)-begin > r.limits.TrailerBytes {
		return refused
	}
	lines := fields
	if o == incomplete {
		// What has come of them is judged line by line.
		part := &reader{patterns: r.patterns, b: append(bytes.Clone(r.b[begin:r.at]), "\r\n"...), limits: r.limits}
		lines, _ = part.fields(r.limits.TrailerFields, len(part.b))
	}
	if len(values(lines, "content-length"))+len(values(lines, "transfer-encoding")) > 0 {
		return refused
	}
	if o == read {
		request.Trailers = fields
	}
	return o
}
