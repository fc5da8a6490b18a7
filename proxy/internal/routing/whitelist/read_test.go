package whitelist

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"drover/bucketmap"
)

func idsOf(w *bucketmap.Whitelist) (ids []string) {
	for id, dc := range w.All() {
		if dc != "cloud" {
			id += " in " + string(dc)
		}
		ids = append(ids, id)
	}
	return ids
}

func TestAFileIsOneIDALine(t *testing.T) {
	longest := strings.Repeat("x", bucketmap.UserIDMax)
	for text, want := range map[string][]string{
		"":                                 nil,
		"ann\nbob\n":                       {"ann", "bob"},
		"ann\nbob":                         {"ann", "bob"}, // no end of the last line
		"ann\r\nbob\r\n":                   {"ann", "bob"},
		"# people\n\nann\n   \n\t\n#bob\n": {"ann"},
		"bob\nann\nbob\n":                  {"ann", "bob"},
		"hex:23626f62\n":                   {"#bob"},
		"hex:00ff\nhex:FF\n":               {"\x00\xff", "\xff"},
		"two words\n":                      {"two words"},
		"zoë\n":                            {"zoë"},
		longest + "\n":                     {longest},
		"#" + strings.Repeat("-", 4000) + "\nann\n":               {"ann"},
		"hex:" + strings.Repeat("78", bucketmap.UserIDMax) + "\n": {longest},
	} {
		users, err := Parse(strings.NewReader(text), "cloud")
		if err != nil {
			t.Errorf("%.40q: %v", text, err)
			continue
		}
		if got := idsOf(users); !slices.Equal(got, want) {
			t.Errorf("%.40q: got %q, want %q", text, got, want)
		}
	}
}

func TestAWrongLineIsRefusedByItsNumberAndNeverShown(t *testing.T) {
	for text, want := range map[string]int{
		"ann\n secret\n":         2,
		"ann\nsecret \n":         2,
		"ann\n#\n\n\nsecret\t\n": 5,
		"\ufeffsecret\n":         1,
		"secret\x00\n":           1,
		"secret\xff\n":           1,
		"ann\nsecret\rbob\n":     2,
		"hex:\n":                 1,
		"hex:5\n":                1,
		"hex:secret\n":           1,
		"ann\nhex:" + strings.Repeat("78", bucketmap.UserIDMax+1) + "\n": 2,
		"secret" + strings.Repeat("x", bucketmap.UserIDMax) + "\n":       1,
		"ann\nbob\nsecret" + strings.Repeat("x", lineMax):                3,
		"ann\n# secret" + strings.Repeat("x", lineMax) + "\n":            2,
	} {
		users, err := Parse(strings.NewReader(text), "cloud")
		var line *LineError
		if users != nil || !errors.As(err, &line) || line.Line != want {
			t.Errorf("%.40q: got %v, want line %d", text, err, want)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("it shows the id: %v", err)
		}
	}
}

func TestTheLastIDTooManyIsRefused(t *testing.T) {
	const most = 100
	text := userLines(most) + "# a comment is none\n\n"
	users, err := parse(strings.NewReader(text), "cloud", most)
	if err != nil || users.Len() != most {
		t.Fatalf("got %v", err)
	}
	var line *LineError
	if _, err := parse(strings.NewReader(text+"one more\n"), "cloud", most); !errors.As(err, &line) || line.Line != most+3 {
		t.Errorf("got %v", err)
	}
	if _, err := parse(strings.NewReader(text+"user-0\n"), "cloud", most); err == nil {
		t.Error("a repetition is not counted")
	}
}

func userLines(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "user-%d\n", i)
	}
	return text.String()
}

func TestWhatIsNoPlainFileIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(dir, "huge")
	if err := errors.Join(os.WriteFile(huge, nil, 0o600), os.Truncate(huge, int64(bytesMax)+1)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, dir, "/dev/zero", huge, filepath.Join(dir, "none")} {
		if _, err := Read(path, "cloud"); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("ann\n#x\nhex:00\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		users, err := Parse(strings.NewReader(string(text)), "cloud")
		if err != nil {
			return
		}
		// What is accepted can be written and read again.
		var again strings.Builder
		for id := range users.All() {
			form := bucketmap.UserID(id).String()
			if form[0] == '#' || form != strings.TrimSpace(form) {
				form = fmt.Sprintf("hex:%x", id)
			}
			again.WriteString(form + "\n")
		}
		second, err := Parse(strings.NewReader(again.String()), "cloud")
		if err != nil || !slices.Equal(idsOf(users), idsOf(second)) {
			t.Errorf("%q: %v", again.String(), err)
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1_000, IDsMax} {
		users, err := Parse(strings.NewReader(userLines(n)), "cloud")
		if err != nil || users.Len() != n {
			b.Fatal(err)
		}
		there, not := []byte("user-777"), []byte("somebody else")
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := users.Lookup(there); !ok {
					b.Fatal("not there")
				}
				if _, ok := users.Lookup(not); ok {
					b.Fatal("there")
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	text := userLines(IDsMax)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(strings.NewReader(text), "cloud"); err != nil {
			b.Fatal(err)
		}
	}
}
