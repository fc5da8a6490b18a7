package http1

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrChunk is the class of chunked bodies that are not well formed.
var ErrChunk = errors.New("malformed chunked body")

const (
	// chunkLineMax bounds the line before a chunk, its extensions included.
	chunkLineMax = 256
	// sizeDigits bounds a chunk's size: 60 bits, so that nothing overflows.
	sizeDigits = 15
	// extensionsMax bounds the extensions of a whole body, beyond a share of
	// its data: they are for nobody, and cost to read.
	extensionsMax   = 16 << 10
	extensionsShare = 4
)

// Decoder reads a chunked body. The zero value, with its bounds set, is at the
// body's beginning.
type Decoder struct {
	TrailerMax, FieldsMax int  // bytes and lines of the trailers
	Strict                bool // as of a request

	state   chunkState
	left    int64 // of the chunk
	line    int   // bytes of this line so far
	digits  int
	data    int64
	extra   int64
	trailer []byte // copied: its lines may come in pieces
	fields  head
}

type chunkState uint8

const (
	atSize chunkState = iota
	inSize
	inBlank // between size and extension
	inExtension
	atSizeEnd // LF
	inData
	atDataCR
	atDataLF
	inTrailer
	atEnd
)

// Done says whether the body, its trailers included, has been read.
func (d *Decoder) Done() bool { return d.state == atEnd }

// Trailers returns the trailers, once Done. They alias the decoder.
func (d *Decoder) Trailers() []Field { return d.fields.Fields }

// TrailerLines is of Trailers.
func (d *Decoder) TrailerLines() []Line { return d.fields.Lines }

// Feed reads from b: it returns data of the body, which aliases b and may be
// empty, and how much of b it has used. It uses all of b unless there is data
// or the body is done. Errors wrap ErrChunk.
func (d *Decoder) Feed(b []byte) (data []byte, used int, err error) {
	for used < len(b) && d.state != atEnd {
		switch d.state {
		case inData:
			n := int(min(d.left, int64(len(b)-used)))
			data = b[used : used+n]
			d.left -= int64(n)
			d.data += int64(n)
			if d.left == 0 {
				d.state = atDataCR
			}
			return data, used + n, nil
		case inTrailer:
			n, err := d.feedTrailer(b[used:])
			if err != nil {
				return nil, used, err
			}
			used += n
		default:
			if err := d.step(b[used]); err != nil {
				return nil, used, err
			}
			used++
		}
	}
	return nil, used, nil
}

// step reads one byte of the framing.
func (d *Decoder) step(c byte) error {
	switch d.state {
	case atDataCR:
		if c != '\r' {
			return fmt.Errorf("%w: a chunk is longer than its size", ErrChunk)
		}
		d.state = atDataLF
		return nil
	case atDataLF:
		if c != '\n' {
			return fmt.Errorf("%w: a chunk does not end in CRLF", ErrChunk)
		}
		d.state = atSize
		return nil
	default:
		return d.stepLine(c)
	}
}

// stepLine reads one byte of the line before a chunk.
func (d *Decoder) stepLine(c byte) error {
	if d.line++; d.line > chunkLineMax {
		return fmt.Errorf("%w: a size line is too long", ErrChunk)
	}
	if d.state == atSizeEnd {
		if c != '\n' {
			return fmt.Errorf("%w: a size line does not end in CRLF", ErrChunk)
		}
		d.endLine()
		return nil
	}
	return d.stepSize(c)
}

func (d *Decoder) stepSize(c byte) error {
	v := hexDigits[c]
	switch {
	case d.state <= inSize && v < 16:
		if d.digits++; d.digits > sizeDigits {
			return fmt.Errorf("%w: a chunk's size is too large", ErrChunk)
		}
		d.left = d.left<<4 | int64(v)
		d.state = inSize
	case c == '\r' && (d.state == inSize || d.state == inExtension || d.state == inBlank && !d.Strict):
		d.state = atSizeEnd // some servers pad the size with blanks
	case (d.state == inSize || d.state == inBlank) && c == ';':
		d.state = inExtension
	case (d.state == inSize || d.state == inBlank) && (c == ' ' || c == '\t'):
		d.state = inBlank
		return d.spend()
	case d.state == inExtension && (c >= ' ' && c != 0x7f || c == '\t'):
		return d.spend()
	default:
		return fmt.Errorf("%w: a chunk's size is no number", ErrChunk)
	}
	return nil
}

// spend counts a byte of an extension, or a blank before it.
func (d *Decoder) spend() error {
	if d.extra++; d.extra > extensionsMax+d.data/extensionsShare {
		return fmt.Errorf("%w: too many chunk extensions", ErrChunk)
	}
	return nil
}

func (d *Decoder) endLine() {
	d.state = inData
	if d.left == 0 {
		d.state = inTrailer
	}
	d.line, d.digits = 0, 0
}

// feedTrailer collects trailers up to the empty line.
func (d *Decoder) feedTrailer(b []byte) (int, error) {
	used := 0
	for used < len(b) {
		end := bytes.IndexByte(b[used:], '\n')
		n := end + 1
		if end < 0 {
			n = len(b) - used
		}
		d.trailer = append(d.trailer, b[used:used+n]...)
		used += n
		if len(d.trailer) > d.TrailerMax {
			return used, fmt.Errorf("%w: the trailers are too long", ErrChunk)
		}
		if end < 0 {
			return used, nil
		}
		d.fields.reset()
		body, p := d.fields.scanTrailers(d.trailer, d.FieldsMax, d.Strict)
		if p != nil {
			return used, fmt.Errorf("%w: %w", ErrChunk, p)
		}
		if body != 0 {
			d.state = atEnd
			return used, nil
		}
	}
	return used, nil
}

// scanTrailers is scanFields where a field that frames is refused (RFC 9110,
// 6.5.1).
func (h *head) scanTrailers(b []byte, fieldsMax int, strict bool) (int, *Problem) {
	body, p := h.scanFields(b, 0, fieldsMax, strict)
	if p == nil && (h.HasLength || h.chunkedSeen) {
		p = problemLengths
	}
	return body, p
}

// Reset begins another body.
func (d *Decoder) Reset() {
	trailer, fields := d.trailer[:0], d.fields
	fields.reset()
	*d = Decoder{TrailerMax: d.TrailerMax, FieldsMax: d.FieldsMax, Strict: d.Strict, trailer: trailer, fields: fields}
}

// ChunkHeadMax is the most that AppendChunkHead appends.
const ChunkHeadMax = 18

// AppendChunkHead appends the line before a chunk of n bytes.
func AppendChunkHead(dst []byte, n int) []byte {
	const digits = "0123456789abcdef"
	shift := 0
	for n>>shift > 0xf {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		dst = append(dst, digits[n>>shift&0xf])
	}
	return append(dst, '\r', '\n')
}

// hexDigits gives a digit's value, 255 for what is none.
var hexDigits = func() (table [256]byte) {
	for i := range table {
		table[i] = 255
	}
	for i := range byte(10) {
		table['0'+i] = i
	}
	for i := range byte(6) {
		table['a'+i], table['A'+i] = 10+i, 10+i
	}
	return table
}()
