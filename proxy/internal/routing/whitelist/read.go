package whitelist

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"drover/bucketmap"
)

const (
	// IDsMax is the most ids a file may have, repetitions included.
	IDsMax = 1_000_000
	// lineMax bounds a line in bytes; an id takes 516 at most: hex: and two
	// digits for each of 256 bytes.
	lineMax = 4096
	// bytesMax bounds the file: × IDsMax of the longest id with its line's end.
	bytesMax = IDsMax * (len("hex:") + 2*bucketmap.UserIDMax + len("\r\n"))
)

// LineError says which line of a file is wrong. Its text never shows the id.
type LineError struct {
	Line int // counted from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Err) }

func (e *LineError) Unwrap() error { return e.Err }

var (
	errBlanks  = errors.New("the id begins or ends with a blank: take it away, or write the id as hex: and its bytes")
	errPrint   = errors.New("the id has a byte that cannot be printed: write it as hex: and its bytes")
	errTooLong = fmt.Errorf("it is longer than %d bytes: want one user id", lineMax)
	errTooMany = fmt.Errorf("more than %d ids: want fewer, the rest in the map's own whitelist", IDsMax)
	errForm    = fmt.Errorf("no user id: want 1 to %d bytes, or hex: and their hexadecimal digits", bucketmap.UserIDMax)
)

// Read returns the users of the file at path, all of one datacenter. What is
// wrong with a line is a *LineError.
func Read(path string, dc bucketmap.Datacenter) (*bucketmap.Whitelist, error) {
	// Without waiting: a pipe would keep the caller until somebody writes to it.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only: nothing to lose
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no plain file")}
	}
	if info.Size() > int64(bytesMax) {
		return nil, fmt.Errorf("%s: %d bytes: want %d at most", path, info.Size(), bytesMax)
	}
	users, err := Parse(io.LimitReader(f, int64(bytesMax)), dc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return users, nil
}

// Parse is Read for a text.
func Parse(text io.Reader, dc bucketmap.Datacenter) (*bucketmap.Whitelist, error) {
	return parse(text, dc, IDsMax)
}

func parse(text io.Reader, dc bucketmap.Datacenter, idsMax int) (*bucketmap.Whitelist, error) {
	lines := bufio.NewScanner(text)
	lines.Buffer(make([]byte, 0, lineMax), lineMax) // the larger of the two is the bound
	number, ids := 0, 0
	var wrong error
	users, err := bucketmap.NewWhitelist(func(yield func(string, bucketmap.Datacenter) bool) {
		for lines.Scan() {
			number++
			id, err := parseLine(lines.Text())
			if err == nil && id != "" {
				if ids++; ids > idsMax {
					err = errTooMany
				}
			}
			if err != nil {
				wrong = &LineError{number, err}
				return
			}
			if id != "" && !yield(string(id), dc) {
				return
			}
		}
		if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
			wrong = &LineError{number + 1, errTooLong}
		} else if err != nil {
			wrong = err
		}
	})
	if wrong != nil {
		return nil, wrong
	}
	return users, err
}

// parseLine returns the id of a line, empty where it has none.
func parseLine(line string) (bucketmap.UserID, error) {
	line = strings.TrimSuffix(line, "\r")
	trimmed := strings.TrimSpace(line)
	switch {
	case trimmed == "" || line[0] == '#':
		return "", nil
	case trimmed != line:
		return "", errBlanks
	case !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", errPrint
	}
	id, err := bucketmap.ParseUserID(line)
	if err != nil {
		return "", errForm // the cause would show the id
	}
	return id, nil
}
