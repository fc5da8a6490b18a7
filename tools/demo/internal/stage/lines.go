package stage

import (
	"bytes"
	"os"
)

// lineMax bounds a line that is heard: a line of a campaign's journal has up to 64
// figures of 200 bytes each, 15 KB. What is longer is heard in parts.
const lineMax = 1 << 20

// Reader hears what a program says. One goroutine calls it.
type Reader interface {
	Line(text []byte) // without its end, some 1 MB at most; it is not to be kept
	End()             // no line comes any more
}

// lines writes what a program says to its log, and tells each line. The program's
// own goroutine writes to it, and nobody else.
type lines struct {
	log    *os.File
	reader Reader // nil: nobody hears
	rest   []byte // of a line that has no end yet
}

// Write takes what comes.
func (l *lines) Write(text []byte) (int, error) {
	_, _ = l.log.Write(text) // a full disk must not end the program that speaks
	l.rest = append(l.rest, text...)
	for {
		line, after, found := bytes.Cut(l.rest, []byte("\n"))
		if !found && len(l.rest) < lineMax {
			return len(text), nil
		}
		l.reader.Line(line)
		l.rest = append(l.rest[:0:0], after...)
	}
}

// close is called once the program has ended; its last line may have no end.
func (l *lines) close() error {
	if l.reader != nil {
		if len(l.rest) != 0 {
			l.reader.Line(l.rest)
		}
		l.reader.End()
	}
	return l.log.Close()
}
