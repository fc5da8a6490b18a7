package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// errChunk is the class of chunked bodies that are not well formed.
var errChunk = errors.New("malformed chunked body")

// chunkLineMax bounds the line before a chunk: the size is 16 digits at most,
// the rest is extensions, which are ignored.
const chunkLineMax = 256

// readChunkSize reads the line before a chunk. The grammar is kept to the
// letter: CRLF, at least one digit, nothing before it.
func readChunkSize(r *bufio.Reader) (int64, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, unexpected(err)
	}
	if len(line) > chunkLineMax || len(line) < 3 || line[len(line)-2] != '\r' {
		return 0, fmt.Errorf("%w: its size line", errChunk)
	}
	line = line[:len(line)-2]
	var size int64
	digits := 0
	for _, c := range line {
		d, ok := hexDigit(c)
		if !ok {
			break
		}
		if digits++; digits > 15 { // 60 bits: no overflow
			return 0, fmt.Errorf("%w: its size", errChunk)
		}
		size = size<<4 | d
	}
	if digits == 0 || digits < len(line) && line[digits] != ';' && line[digits] != ' ' && line[digits] != '\t' {
		return 0, fmt.Errorf("%w: its size", errChunk)
	}
	return size, nil
}

func readCRLF(r *bufio.Reader) error {
	for _, want := range []byte("\r\n") {
		b, err := r.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if b != want {
			return fmt.Errorf("%w: its end", errChunk)
		}
	}
	return nil
}

// appendChunkSize appends the line before a chunk of n bytes.
func appendChunkSize(dst []byte, n int) []byte {
	dst = strconv.AppendInt(dst, int64(n), 16)
	return append(dst, '\r', '\n')
}

func hexDigit(c byte) (int64, bool) {
	switch {
	case '0' <= c && c <= '9':
		return int64(c - '0'), true
	case 'a' <= c && c <= 'f':
		return int64(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return int64(c-'A') + 10, true
	default:
		return 0, false
	}
}

// unexpected makes an end within a body an error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
