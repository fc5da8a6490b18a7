package stage

import (
	"bytes"
	"os"
)

// lineMax bounds a line that is heard: a line of a campaign's journal has up to 64
// figures of 200 bytes each. What is longer is heard in parts.
const lineMax = 64 << 10

// lines writes what a program says to its log, and tells each line. The program's
// own goroutine writes to it, and nobody else.
type lines struct {
	log   *os.File
	heard func(line []byte)
	rest  []byte // of a line that has no end yet
}

func newLines(path string, heard func([]byte)) (*lines, error) {
	log, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	return &lines{log: log, heard: heard}, err
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
		l.heard(line)
		l.rest = append(l.rest[:0:0], after...)
	}
}

// close is called once the program has ended. Of nil it does nothing.
func (l *lines) close() error {
	if l == nil {
		return nil
	}
	return l.log.Close()
}
