package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/tools/testservers"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var server testservers.Shared

func TestMain(m *testing.M) { os.Exit(server.Run(m, os.Stderr)) }

// two returns two migrators' views of one journal.
func two(t *testing.T) (a, b *Journal) {
	t.Helper()
	mariadb, name, err := server.Database(t.Context())
	must(t, err)
	var both []*Journal
	for range 2 {
		s, err := database.Open("alpha", "legacy", mariadb.Addr(), name,
			database.Account{User: testservers.AccountDrover, Password: testservers.Password})
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		must(t, Create(t.Context(), s.DB)) // the second time it is there
		both = append(both, Open(s))
	}
	return both[0], both[1]
}

func begin(t *testing.T, j *Journal, id bucketmap.MoveID) *Record {
	t.Helper()
	r := &Record{Move: id, Kind: KindMove, State: "planned", Detail: json.RawMessage(`{"a":"ü"}`), Who: "ann", Why: "tést"}
	must(t, j.Begin(t.Context(), r))
	return r
}

func TestARunThatWasReplacedCannotWrite(t *testing.T) {
	a, b := two(t)
	r := begin(t, a, "m-1")
	r.State = "copying"
	must(t, a.Write(t.Context(), r, ""))
	taken, err := b.TakeOver(t.Context(), "m-1")
	must(t, err)
	if taken.Run != 2 || taken.State != "copying" || string(taken.Detail) != `{"a":"ü"}` || taken.Who != "ann" || taken.Why != "tést" {
		t.Errorf("taken over: %+v", taken)
	}
	r.State = "tailing"
	if err := a.Write(t.Context(), r, ""); !errors.Is(err, ErrReplaced) {
		t.Errorf("the first run writes: %v, want ErrReplaced", err)
	}
	taken.State, taken.Open = "done", false
	must(t, b.Write(t.Context(), taken, strings.Repeat("long ", 1000)))
	open, err := a.List(t.Context(), true)
	must(t, err)
	all, err := a.List(t.Context(), false)
	must(t, err)
	if len(open) != 0 || len(all) != 1 || all[0].State != "done" {
		t.Errorf("%d open and %d in all, want 0 and 1 that is done", len(open), len(all))
	}
	entries, err := a.Entries(t.Context(), "m-1")
	must(t, err)
	var states []string
	for _, e := range entries {
		states = append(states, e.State)
	}
	if got := strings.Join(states, " "); got != "planned copying copying done" {
		t.Errorf("entries %q", got)
	}
}

func TestOneMigratorAtATimeHasAMove(t *testing.T) {
	a, b := two(t)
	begin(t, a, "m-1")
	unlock, err := a.Lock(t.Context(), "m-1")
	must(t, err)
	_, err = b.Lock(t.Context(), "m-1")
	locked, ok := errors.AsType[*LockedError](err)
	if !errors.Is(err, ErrLocked) || !ok || locked.Holder == nil {
		t.Fatalf("locked twice: %v, want ErrLocked and by whom", err)
	}
	host, err := os.Hostname()
	must(t, err)
	if h := locked.Holder; h.Host != host || h.PID != strconv.Itoa(os.Getpid()) || h.Client == "" || h.Connection == 0 ||
		time.Since(h.Since) > time.Minute || !strings.Contains(locked.Error(), h.PID) {
		t.Errorf("locked by %+v", h)
	}
	if open, err := b.List(t.Context(), true); err != nil || len(open) != 1 || !open[0].Running {
		t.Errorf("listed %+v %v, want one that runs", open, err)
	}
	other, err := b.Lock(t.Context(), "m-2")
	must(t, err)
	other()
	unlock()
	if h, err := b.Holder(t.Context(), "m-1"); h != nil || err != nil {
		t.Errorf("nobody has it: %+v %v", h, err)
	}
	again, err := b.Lock(t.Context(), "m-1")
	must(t, err)
	again()
}

func TestUnknownMovesAreSaidToBe(t *testing.T) {
	a, _ := two(t)
	if _, err := a.Get(t.Context(), "m-9"); !errors.Is(err, ErrNoMove) {
		t.Errorf("get: %v, want ErrNoMove", err)
	}
	if _, err := a.TakeOver(t.Context(), "m-9"); !errors.Is(err, ErrNoMove) {
		t.Errorf("take over: %v, want ErrNoMove", err)
	}
}

func TestAPassportHasEveryVisitAndItsTime(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 11, 21, 0, 0, s, 0, time.UTC) }
	entries := []Entry{{At: at(0), State: "planned"}, {At: at(1), State: "planned", Note: noteRuns}, {At: at(3), State: "tailing"},
		{At: at(10), State: "freezing"}, {At: at(10), State: "freezing", Note: "why"}, {At: at(11), State: "tailing"}, {At: at(13), State: "soaking"}}
	visits := Passport(entries, true, at(20))
	var told []string
	for _, v := range visits {
		told = append(told, v.State+" "+v.Took.String())
	}
	if got := strings.Join(told, ", "); got != "planned 3s, tailing 7s, freezing 1s, tailing 2s, soaking 7s" || !visits[4].Last {
		t.Errorf("visits %s", got)
	}
	told = nil
	for _, s := range Stays(visits) {
		told = append(told, fmt.Sprintf("%s %d× %s", s.State, s.Visits, s.Took))
	}
	if got := strings.Join(told, ", "); got != "planned 1× 3s, tailing 2× 9s, freezing 1× 1s, soaking 1× 7s" {
		t.Errorf("stays %s", got)
	}
	if back := StepsBack(visits); len(back) != 1 || back[0].Why != "why" || back[0].From != "freezing" {
		t.Errorf("steps back %+v", back)
	}
	if over := Passport(entries, false, at(20)); over[4].Took != 0 {
		t.Errorf("a move that is over goes on for %s", over[4].Took)
	}
	if none := Passport(nil, true, at(1)); none != nil {
		t.Errorf("of nothing: %+v", none)
	}
}

func TestAListSaysSinceWhenAMoveIsInItsState(t *testing.T) {
	a, _ := two(t)
	r := begin(t, a, "m-1")
	r.State = "copying"
	must(t, a.Write(t.Context(), r, ""))
	since := r.Updated
	must(t, a.Write(t.Context(), r, "again"))
	must(t, a.Remark(t.Context(), r, strings.Repeat("é", 1000)))
	must(t, a.Remark(t.Context(), &Record{Move: "m-1", Run: 9}, "by a run that has not the move"))
	entries, err := a.Entries(t.Context(), "m-1")
	must(t, err)
	if n := len(entries); n != 4 || entries[3].State != "copying" || !strings.HasPrefix(entries[3].Note, "éé") {
		t.Errorf("%d entries: %+v", n, entries)
	}
	list, err := a.List(t.Context(), true)
	must(t, err)
	if got := list[0]; !got.Since.Equal(since.Truncate(time.Microsecond)) && !got.Since.Equal(since.Round(time.Microsecond)) || !got.Updated.After(got.Since) {
		t.Errorf("since %s, updated %s; want since %s", got.Since, got.Updated, since)
	}
}
