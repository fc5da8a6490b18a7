package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type sample struct {
	Listen string        `yaml:"listen"`
	Wait   time.Duration `yaml:"wait"`
	Buffer Bytes         `yaml:"buffer"`
	Admin  struct {
		Token string `yaml:"token"`
	} `yaml:"admin"`
}

func defaults() sample { return sample{Listen: ":80", Wait: time.Second, Buffer: 64 * KiB} }

func TestKeysThatTheFileLacksKeepTheirDefaults(t *testing.T) {
	s := defaults()
	if err := Decode([]byte("wait: 250ms\nbuffer: 2MiB\nadmin: {token: t}\n"), &s); err != nil {
		t.Fatal(err)
	}
	if s.Listen != ":80" || s.Wait != 250*time.Millisecond || s.Buffer != 2*MiB || s.Admin.Token != "t" {
		t.Fatalf("got %+v", s)
	}
}

func TestMistakesAreErrorsWithTheirLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "listen: x\nlisten_adress: y\n", "[2:1]"}, //nolint:misspell // the mistake of the test
		{"unknown nested key", "admin:\n  tokn: secret\n", "[2:3]"},
		{"key twice", "listen: x\nlisten: y\n", "[2:1]"},
		{"bare number as a duration", "wait: 5\n", "[1:7]"},
		{"bad size", "buffer: 1KB\n", "1KB"},
		{"two documents", "listen: x\n---\nlisten: y\n", "more than one document"},
		{"empty", "", "empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := defaults()
			err := Decode([]byte(c.text), &s)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Fatalf("the error shows the file's content: %v", err)
			}
		})
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(path, []byte("x: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := defaults()
	if err := Load(path, &s); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v", err)
	}
	if err := Load(path+"x", &s); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func TestProblemsAreReportedAllAtOnce(t *testing.T) {
	var p Problems
	if p.Err() != nil {
		t.Fatal("no problem, but an error")
	}
	p.Between("hold.requests_max", 0, 1, 10)
	p.Lasting("hold.wait_max", time.Hour, 0, time.Minute)
	p.Sized("replay_buffer", 2*GiB, 0, MiB)
	p.Address("listen", "nowhere")
	p.Address("admin.listen", "127.0.0.1:0")
	err := p.Err()
	var invalid *InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 4 {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"hold.requests_max: 0: want 1 to 10", "hold.wait_max: 1h0m0s: want 0s to 1m0s",
		"replay_buffer: 2GiB: want 0 to 1MiB", `listen: "nowhere": want host:port`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestSizesRoundTrip(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "512": 512, "64KiB": 64 * KiB, "64 KiB": 64 * KiB, "3GiB": 3 * GiB} {
		got, err := ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("%q: got %d, %v", text, got, err)
		}
		again, err := ParseBytes(got.String())
		if err != nil || again != got {
			t.Errorf("%q: %q reads as %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "KiB", "9999999999GiB", "1kb"} {
		if _, err := ParseBytes(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}
