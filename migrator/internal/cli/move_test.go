package cli

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"drover/migrator/internal/move"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

func TestMovesAreListedAndShownWithTheirPassports(t *testing.T) {
	d := ready(t)
	d.exec(d.alpha, "INSERT INTO steps (user_id, day) VALUES ('"+userOf(5)+"', '2026-11-21')")
	d.want(0, []string{"move", "list"}, "nothing to list")
	d.want(0, []string{"bucket", "move", "5,7-9", "--to", "gamma", "--why", "the first ones"}, "passport: ")
	id := d.open1()
	var list struct {
		Moves       []moveLine
		Unreachable []unreachable
	}
	d.reads(&list, "move", "list")
	l := list.Moves[0]
	if l.Buckets.String() != "5,7-9" || l.From != "alpha" || l.To != "gamma" || l.State != "soaking" || l.Who != "tester" || l.Why != "the first ones" ||
		l.Run != 1 || !l.Open || l.Running || l.Since.Before(l.Created) || l.Home != "alpha" || list.Unreachable == nil {
		t.Errorf("listed %+v", l)
	}
	d.unchanged(0, []string{"move", "list"}, id, "buckets 5,7-9", "soaking", "the first ones")
	d.unchanged(0, []string{"move", "list", "--state", "done"}, "nothing to list")
	d.want(2, []string{"move", "list", "--state", "dancing"}, "no move and no promotion")

	var s shown
	d.reads(&s, "move", "show", "8")
	var states []string
	total := 0.0
	for _, v := range s.Passport {
		states = append(states, v.State)
		if !v.Last {
			total += v.Seconds
		}
	}
	if got := strings.Join(states, " "); !strings.HasPrefix(got, "planned copying tailing verifying holding ") || !strings.HasSuffix(got, " switching publishing soaking") {
		t.Errorf("states %s", got)
	}
	if s.Tries < 1 || s.Tries != len(s.StepsBack)+1 || s.Unwritable == nil || *s.Unwritable <= 0 || *s.Unwritable > total || s.RowsCopied == nil || *s.RowsCopied != 1 || s.Lag == nil ||
		s.Holder != nil || len(s.Unknown) != 0 || !slices.Contains(s.Next, "migrator bucket return "+id) {
		t.Errorf("shown %+v, rows %v, lag %v, unwritable %v of %g", s, s.RowsCopied, s.Lag, s.Unwritable, total)
	}
	d.unchanged(0, []string{"move", "show", id}, "alpha → gamma, is soaking", "rows copied: 1", "no migrator has it", "next: migrator bucket finish "+id)

	// As long as the takeover takes, it is no part of the soak.
	d.want(0, []string{"bucket", "soak", "8", "--for", "1ms"}, "soaking")
	d.want(0, []string{"bucket", "finish", id})
	d.unchanged(0, []string{"move", "list"}, "nothing to list")
	d.unchanged(0, []string{"move", "list", "--all"}, id, "done")
	d.unchanged(0, []string{"move", "show", "8"}, id, "and over", "publishing", "rows copied: 1", "time in each state: planned ", "write stall of the last change of home: ")
	var over shown
	d.reads(&over, "move", "show", id)
	if over.RowsCopied == nil || *over.RowsCopied != 1 || over.Stall == nil || *over.Stall <= 0 || len(over.States) < 8 {
		t.Errorf("a finished move shows %+v, rows %v, stall %v", over, over.RowsCopied, over.Stall)
	}
	d.want(3, []string{"move", "show", "m-none"}, "no journal has")

	d.write("shards.yaml", "database: "+d.database+"\nshards:\n  alpha: {legacy: \""+d.alpha.Addr()+"\"}\n  gamma: {cloud: \"127.0.0.1:1\"}\n")
	r := d.want(2, []string{"move", "list", "--all", "-o", "json"}, "not every shard could be asked")
	if err := json.Unmarshal([]byte(r.out), &list); err != nil || len(list.Moves) != 1 || len(list.Unreachable) != 1 || list.Unreachable[0].Shard != "gamma" {
		t.Errorf("listed %+v, %v", list, err)
	}
	d.want(0, []string{"move", "show", id}, "and over")
	d.want(2, []string{"move", "show", "m-none"}, "gamma")
}

func TestResumeAndAbortAreCommandsOfMoveToo(t *testing.T) {
	d := ready(t)
	for _, args := range [][]string{{"move", "resume", "m-none"}, {"resume", "m-none"}, {"move", "abort", "m-none"}, {"abort", "m-none"}} {
		d.unchanged(3, args, "no open move or promotion")
	}
}

func TestAMoveShowsWhyAFreezeSteppedBack(t *testing.T) {
	d := ready(t)
	var said bytes.Buffer
	a := &app{env: Environment{Who: "tester"}, configPath: d.path("migrator.yaml"), errOut: &said}
	must(t, a.open())
	t.Cleanup(func() { must(t, a.close()) })
	var tx *sql.Tx // an application's, from the first hold to the first step back
	must(t, a.points.ArmFunc("holding.after_journal", func() {
		var err error
		tx, err = d.open(d.alpha, testservers.AccountApp).BeginTx(t.Context(), nil)
		must(t, err)
		_, err = tx.ExecContext(t.Context(), "SELECT * FROM "+fence.Table+" WHERE bucket = 33 LOCK IN SHARE MODE")
		must(t, err)
	}))
	p := a.newProgress()
	engine := a.engine(func(e move.Event) {
		p.event(e)
		if tx != nil && e.Note != "" {
			must(t, tx.Rollback())
			tx = nil
		}
	})
	m, err := engine.Start(t.Context(), move.Plan{Buckets: move.Buckets{33}, Target: "gamma", Who: "tester"})
	must(t, err)
	p.follow(t.Context(), m)
	must(t, engine.Run(t.Context(), m))
	var s shown
	d.reads(&s, "move", "show", "33")
	if len(s.StepsBack) == 0 || s.Tries != len(s.StepsBack)+1 || !strings.Contains(s.StepsBack[0].Why, "transaction") {
		t.Errorf("%d tries, steps back %+v; it said %s", s.Tries, s.StepsBack, said.String())
	}
}
