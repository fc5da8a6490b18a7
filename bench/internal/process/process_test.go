package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/bench/internal/proc"
)

// TestMain is a server where the tests start themselves as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "server" {
		os.Exit(server(os.Args[2]))
	}
	// For the children: else each takes a second to end.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	m.Run()
}

func server(way string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	say := func(text string) { fmt.Fprintln(os.Stderr, text) }
	switch way {
	case "ends":
		say("no such folder")
		return 3
	case "ends well":
		return 0
	case "silent":
		say("waiting for a map")
	case "wordy":
		say(strings.Repeat("x", lineMax+1))
		for range 1000 {
			say(strings.Repeat("y", 1<<10))
		}
	default:
		say("not of JSON: listening")
		say(`{"message":"a map is in force","address":"127.0.0.1:1"}`)
		say(way)
		for n := range 1000 {
			say(fmt.Sprintf(`{"message":"request %d"}`, n))
		}
		say(`{"message":"listening","address":"127.0.0.1:9"}`)
	}
	<-ctx.Done()
	if strings.Contains(way, "dirty") {
		say("draining failed")
		return 4
	}
	return 0
}

func TestAProcessIsStartedWhereItsLogSaysThatItListens(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		`{"message":"listening","address":"127.0.0.1:80"}`,
		`{"message":"listening","clients":["127.0.0.1:80"],"admin":"127.0.0.1:81"}`,
	} {
		p, err := Start(t.Context(), os.Args[0], "server", line)
		if err != nil {
			t.Fatal(err)
		}
		if p.Address != "127.0.0.1:80" {
			t.Errorf("%s: at %q", line, p.Address)
		}
		if _, err := proc.Clock(p.PID()); err != nil {
			t.Error(err)
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestAProcessThatEndsInsteadOfListeningIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	for way, want := range map[string]string{"ends": "no such folder", "ends well": "ended before it listened"} {
		begun := time.Now()
		_, err := Start(t.Context(), os.Args[0], "server", way)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "ended before it listened") {
			t.Errorf("%s: %v", way, err)
		}
		if took := time.Since(begun); took > listenMax/2 {
			t.Errorf("%s: found after %s", way, took)
		}
	}
}

func TestTheEndOfTheContextEndsAProcessThatDoesNotListen(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"silent", "wordy"} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := Start(ctx, os.Args[0], "server", way); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", way, err)
		}
	}
}

func TestAnUncleanEndShowsTheLastLinesOfTheLog(t *testing.T) {
	t.Parallel()
	p, err := Start(t.Context(), os.Args[0], "server", `{"message":"listening","address":"dirty"}`)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Stop()
	if err == nil || !strings.Contains(err.Error(), "exit status 4") || !strings.Contains(err.Error(), "draining failed") {
		t.Errorf("got %v", err)
	}
	if n := strings.Count(err.Error(), "\n"); n != linesKept {
		t.Errorf("%d lines of the log, want %d", n, linesKept)
	}
}

func TestAProgramThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	if _, err := Start(t.Context(), "/no/such/program"); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("got %v", err)
	}
}
