package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"drover/migrator/internal/move"
)

// at is a moment of the tests' move.
func at(seconds int) time.Time { return time.Date(2026, 11, 21, 12, 0, seconds, 0, time.UTC) }

// tells reports a move of a few seconds: a copy of 1000 rows in steps of a
// tenth of a second, and two states more.
func tells(p *progress) {
	p.total = 1000
	p.event(move.Event{Move: "m-1", State: move.Planned, At: at(0), Entered: true})
	p.event(move.Event{Move: "m-1", State: move.Copying, At: at(0), Entered: true})
	for i := range 100 {
		p.event(move.Event{Move: "m-1", State: move.Copying, At: at(0).Add(time.Duration(i) * 100 * time.Millisecond), Rows: int64(i * 10)})
	}
	p.event(move.Event{Move: "m-1", State: move.Tailing, At: at(11), Entered: true})
	p.event(move.Event{Move: "m-1", State: move.Tailing, At: at(12), Behind: 7, Rows: 40})
	p.event(move.Event{Move: "m-1", State: move.Holding, At: at(20), Note: "stepped back, try 1 of 100: a\x1b[2Jlag"})
	p.event(move.Event{Move: "m-1", State: move.Soaking, At: at(21), Entered: true})
	p.end()
	p.end()
}

func TestWithoutATerminalThereIsALineAStateAndOneEveryFewSeconds(t *testing.T) {
	var out bytes.Buffer
	a := &app{errOut: &out}
	tells(a.newProgress())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 7 {
		t.Errorf("%d lines, want 7:\n%s", len(lines), out.String())
	}
	for _, words := range []string{"500 of about 1000 rows, 100 rows/s, about 5s to go", "(copying took 11s)", "stepped back, try 1 of 100",
		"passport: 21s in all: planned 0s, copying 11s, tailing 10s"} {
		if strings.Count(out.String(), words) != 1 {
			t.Errorf("%q is not there once:\n%s", words, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("control characters: %q", out.String())
	}
}

func TestEventsForProgramsAreOneALineWithStableNames(t *testing.T) {
	var out bytes.Buffer
	a := &app{errOut: &out, output: "json"}
	tells(a.newProgress())
	var events []progressEvent
	known := []string{"event", "move", "state", "at", "note", "entered", "rows", "rows_total", "rows_per_second", "behind_transactions", "eta_seconds", "took_seconds", "states"}
	for line := range strings.Lines(out.String()) {
		var e progressEvent
		var names map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		must(t, json.Unmarshal([]byte(line), &names))
		for name := range names {
			if !slices.Contains(known, name) {
				t.Errorf("the name %q is new: %s", name, line)
			}
		}
		events = append(events, e)
	}
	count := map[string]int{}
	for _, e := range events {
		count[e.Event]++
	}
	// 10 s of copying at two a second, less the first half, and one of the tail.
	if count["state"] != 4 || count["note"] != 1 || count["passport"] != 1 || count["progress"] < 19 || count["progress"] > 21 {
		t.Errorf("events %v", count)
	}
	last := events[len(events)-1]
	if last.Event != "passport" || len(last.States) != 3 || last.States[1] != (stayLine{"copying", 1, 11}) {
		t.Errorf("passport %+v", last)
	}
}

// terminal opens a terminal of our own. read returns what was written to it.
func terminal(t *testing.T) (tty *os.File, read func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	must(t, err)
	must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	must(t, err)
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	must(t, unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 200}))
	var seen bytes.Buffer
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(&seen, master) // ends with an error when the other side is closed
	}()
	return tty, func() string {
		must(t, tty.Close())
		<-ended
		must(t, master.Close())
		return seen.String()
	}
}

func TestOnATerminalABarShowsRowsRateAndTimeToGo(t *testing.T) {
	tty, read := terminal(t)
	a := &app{errOut: tty}
	p := a.newProgress()
	if p.tty == nil {
		t.Fatal("the terminal is not known to be one")
	}
	tells(p)
	seen := read()
	for _, words := range []string{"copying  0 of about 1000 rows", "7 transactions behind", "stepped back, try 1 of 100", "passport: 21s in all"} {
		if !strings.Contains(seen, words) {
			t.Errorf("%q is not in %q", words, seen)
		}
	}
	if lines := strings.Count(seen, "\n"); lines != 6 { // the bar has none
		t.Errorf("%d lines, want 6: %q", lines, seen)
	}
}

func TestAMoveOnATerminalShowsItsStates(t *testing.T) {
	d := ready(t)
	d.exec(d.alpha, "INSERT INTO steps (user_id, day) VALUES ('"+userOf(5)+"', '2026-11-21')", "ANALYZE TABLE steps, profile")
	tty, read := terminal(t)
	var out bytes.Buffer
	code := Run(t.Context(), Environment{Args: []string{"bucket", "move", "5", "--to", "gamma"}, Out: &out, Err: tty, Who: "tester", Config: d.path("migrator.yaml")})
	seen := read()
	if code != 0 || !strings.Contains(seen, "copying") || !strings.Contains(seen, "passport: ") || !strings.Contains(out.String(), "soaking") {
		t.Errorf("exit code %d: %q, %q", code, seen, out.String())
	}
}
