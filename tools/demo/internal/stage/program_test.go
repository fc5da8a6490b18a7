package stage

import (
	"context"
	"os"
	"testing"
	"time"

	"drover/tools/demo/internal/faults"
)

// heardMax bounds the wait for a shell's word.
const heardMax = time.Minute

// bare is a stage with nothing on it.
func bare(t *testing.T) *Stage {
	t.Helper()
	s := &Stage{Dir: t.TempDir()}
	if err := os.Mkdir(s.path(logsFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.watchdog, err = startWatchdog(); err != nil {
		t.Fatal(err)
	}
	return s
}

// waiting is a shell's script that says one and two, and waits for its end.
const waiting = `mkfifo never; exec 3<>never; trap 'echo bye; exit 7' TERM; echo one; echo two >&2; read -r _ <&3`

func TestAProgramIsHeardAndEndsWithItsExitCode(t *testing.T) {
	s := bare(t)
	defer s.Close() //nolint:errcheck // there is no server on it
	ctx, cancel := context.WithTimeout(t.Context(), heardMax)
	defer cancel()
	feed := faults.NewFeed(func(line []byte) (string, bool) { return string(line), true })
	p, err := s.Start("shell", feed, "/bin/sh", "-c", waiting)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "two"} {
		if _, err := feed.Until(ctx, 0, want, func(line string) bool { return line == want }); err != nil {
			t.Error(err)
		}
	}
	if first, second := p.Stop(), p.Stop(); first != 7 || second != 7 {
		t.Errorf("exit codes %d and %d; want 7", first, second)
	}
	if text, err := os.ReadFile(s.LogPath("shell")); err != nil || string(text) != "one\ntwo\nbye\n" {
		t.Errorf("the log has %q, %v", text, err)
	}
	if _, err := feed.Until(ctx, 2, "bye", func(line string) bool { return line == "bye" }); err != nil {
		t.Error(err)
	}
	if _, err := feed.Until(ctx, 0, "more", func(string) bool { return false }); err == nil || ctx.Err() != nil {
		t.Errorf("%v; want that the feed has ended", err)
	}
}

func TestCloseEndsWhatWasStartedAndOnlyWhatShouldRunIsMissed(t *testing.T) {
	s := bare(t)
	p, err := s.Start("sleeper", &ear{}, "sleep", "600")
	if err != nil {
		t.Fatal(err)
	}
	ended, err := s.Start("ended", &ear{}, "true")
	if err != nil {
		t.Fatal(err)
	}
	<-ended.ended
	if name := s.Ended(); name != "" {
		t.Errorf("%s is missed", name)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if state := p.command.ProcessState; state == nil || state.String() != "signal: terminated" {
		t.Errorf("%v; want terminated", state)
	}
}
