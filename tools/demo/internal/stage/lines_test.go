package stage

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLinesAreHeardWholeHoweverTheyAreWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var heard []string
	l, err := newLines(path, func(line []byte) { heard = append(heard, string(line)) })
	if err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte("x"), lineMax)
	for _, part := range []string{"one\ntw", "o\n\nthr", "ee", "\n", string(long), "end\n"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(heard, "|"); got != "one|two||three|"+string(long)+"|end" {
		t.Errorf("%.100s", got)
	}
	text, err := os.ReadFile(path)
	if want := "before\none\ntwo\n\nthree\n" + string(long) + "end\n"; err != nil || string(text) != want {
		t.Errorf("the log has %.100q, %v", text, err)
	}
}
