package promotions

// lostPoints are those of migrator shard promote --lost that no other command
// passes, and two that it passes in its own way.
var lostPoints = []string{
	"switching.before_stop", "switching.after_stop", "switching.before_begin", "switching.after_begin",
	"switching.before_reset", "switching.after_reset", "switching.before_activate", "switching.after_activate", "switching.after_writable",
	"publishing.before_map", "publishing.after_map", "reversing.after_journal",
}

// lostCases kill the migrator while it promotes the replica of a primary that is
// gone. What the primary had not sent is lost by its nature, and not what is tried
// here: it has nothing of that kind when it dies.
func lostCases() []faultCase {
	var cases []faultCase
	for _, p := range lostPoints {
		cases = append(cases, faultCase{title: "Migrator killed, `promote --lost`", name: "`" + p + "`", slow: true, run: func(x *trial) { x.lost(p) }})
	}
	return cases
}

func (x *trial) lost(point string) {
	x.t.Helper()
	// It goes with the server.
	_ = x.held(x.from.root, "FLUSH TABLES WITH READ LOCK")
	x.w.caughtUp(x.from, x.to)
	must(x.t, x.from.server.Kill())
	x.struck = x.c.book.Now()
	args := []string{"shard", "promote", "alpha", "--to", string(x.to.dc), "--lost", "--yes", "alpha"}
	x.w.until("the replica has noticed it", func() error { return x.w.migrator(append(args, "--dry-run")...) })
	x.child = x.w.start(point, args...)
	if err := x.child.Reach(patience); err != nil {
		x.t.Fatal(err)
	}
	x.child.Kill()
	x.resumed = x.c.book.Now()
	// Before the promotion is in the journal there is nothing to resume: the same
	// command again. After it, resume ends with the old primary's absence.
	if err := x.w.migrator(args...); err != nil {
		err = x.w.migrator("resume")
		x.t.Logf("resume without the old primary: %v", err)
	}
	x.row.meanwhile = await
	x.c.more(10) // the old primary is not needed for that
	must(x.t, x.from.server.Restart(x.t.Context()))
}
