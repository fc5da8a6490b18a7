package stage

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ear keeps what it hears.
type ear struct{ heard []string }

func (e *ear) Line(text []byte) { e.heard = append(e.heard, string(text)) }
func (e *ear) End()             { e.heard = append(e.heard, "END") }

func TestLinesAreHeardWholeHoweverTheyAreWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	e := &ear{}
	l := &lines{log: log, reader: e}
	long := bytes.Repeat([]byte("x"), lineMax)
	for _, part := range []string{"one\ntw", "o\n\nthr", "ee", "\n", string(long), "end\n", "no end"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(e.heard, "|"); got != "one|two||three|"+string(long)+"|end|no end|END" {
		t.Errorf("%.100s", got)
	}
	text, err := os.ReadFile(path)
	if want := "one\ntwo\n\nthree\n" + string(long) + "end\nno end"; err != nil || string(text) != want {
		t.Errorf("the log has %.100q, %v", text, err)
	}
}
