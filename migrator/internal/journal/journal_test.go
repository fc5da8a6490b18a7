package journal

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

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

// two returns two migrators' views of one journal.
func two(t *testing.T) (a, b *Journal) {
	t.Helper()
	servers, err := testservers.Start(t).MariaDBs(t.Context(), "alpha")
	must(t, err)
	must(t, servers[0].Exec(t.Context(), "CREATE DATABASE app"))
	var both []*Journal
	for range 2 {
		s, err := database.Open("alpha", "legacy", servers[0].Addr(), "app",
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
	if _, err := b.Lock(t.Context(), "m-1"); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v, want ErrLocked", err)
	}
	other, err := b.Lock(t.Context(), "m-2")
	must(t, err)
	other()
	unlock()
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
