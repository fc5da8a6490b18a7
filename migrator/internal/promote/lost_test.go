package promote

import (
	"errors"
	"testing"
	"time"

	"drover/migrator/internal/crash"
	"drover/migrator/internal/journal"
	"drover/shardlib/fence"
	"drover/tools/testservers"
)

func TestAnOldPrimaryThatIsLostIsReversedWhenItIsBack(t *testing.T) {
	w := newWorld(t)
	ws := w.startWriters()
	w.limits.Reverse = 500 * time.Millisecond
	must(t, w.points.ArmFunc("publishing.after_map", func() { must(t, w.a.Kill()) }))
	p, err := w.promote(cloud)
	var placed *Error
	if !errors.As(err, &placed) || p.State() != Reversing || placed.Hint == "" {
		t.Fatalf("%v; it is %s", err, p.State())
	}
	ws.waitAcked(10)
	w.writable(cloud)
	if err := w.engine().Resume(t.Context(), w.open()); err == nil {
		t.Fatal("resumed without the old primary")
	}
	must(t, w.a.Restart(t.Context()))
	// It is back without read_only, and refuses by its row.
	if err := w.write(legacy, true); !errors.Is(err, fence.ErrRefused) {
		t.Errorf("the old primary takes a write: %v", err)
	}
	w.limits.Reverse = 20 * time.Second
	must(t, w.engine().Resume(t.Context(), w.open()))
	w.settled(cloud, 2)
	ws.check(cloud)
}

func TestAnOldPrimaryThatIsLostAtTheCommitPointIsNotNeeded(t *testing.T) {
	w := newWorld(t)
	ws := w.startWriters()
	w.limits.Reverse = 300 * time.Millisecond
	w.limits.Switch = time.Second
	must(t, w.points.ArmFunc("switching.before_stop", func() { must(t, w.a.Kill()) }))
	p, err := w.promote(cloud)
	if err == nil || p.State() != Reversing {
		t.Fatalf("%v; it is %s", err, p.State())
	}
	w.writable(cloud)
	ws.waitAcked(10)
	// For good: the promotion ends without it.
	must(t, w.engine().Finish(t.Context(), w.open(), "it burned"))
	row, err := shardRow(t.Context(), w.server(cloud))
	must(t, err)
	if row.State != fence.Active || row.Epoch != 2 || row.Token != (fence.Token{}) {
		t.Errorf("the row is %+v", row)
	}
	if open, err := journal.Open(w.server(cloud)).List(t.Context(), true); err != nil || len(open) != 0 {
		t.Errorf("open: %v, %v", open, err)
	}
	ws.check(cloud)
}

// noLink keeps the replica from receiving more, without a word to the binlog.
func (w *world) noLink() {
	must(w.t, w.a.Exec(w.t.Context(), "SET SESSION sql_log_bin = 0", "ALTER USER replica@'%' ACCOUNT LOCK"))
	must(w.t, w.b.Exec(w.t.Context(), "STOP SLAVE IO_THREAD"))
}

func TestACommitPointThatDoesNotComeOverIsSwitchedAllTheSame(t *testing.T) {
	w := newWorld(t)
	w.limits.Switch, w.limits.Reverse = 300*time.Millisecond, 3*time.Second
	must(t, w.points.ArmFunc("freezing.before_commit", w.noLink))
	p, err := w.promote(cloud)
	if !errors.Is(err, ErrErrant) || p.State() != Reversing {
		t.Fatalf("%v; it is %s", err, p.State())
	}
	w.writable(cloud)
	if err := w.write(legacy, true); !errors.Is(err, fence.ErrRefused) {
		t.Errorf("the old primary takes a write: %v", err)
	}
	must(t, w.engine().Finish(t.Context(), w.open(), "it will be made anew"))
}

func TestWithoutTheOldPrimarysWordNobodyIsPromoted(t *testing.T) {
	w := newWorld(t)
	w.dieAt("freezing.before_commit", cloud)
	p := w.open()
	must(t, w.a.Kill())
	if err := w.engine().Resume(t.Context(), p); !errors.Is(err, ErrUndecided) {
		t.Fatal(err)
	}
	if readOnly, err := w.server(cloud).ReadOnly(t.Context()); err != nil || !readOnly {
		t.Fatalf("the replica is read-only: %t, %v", readOnly, err)
	}
	must(t, w.a.Restart(t.Context()))
	must(t, w.engine().Resume(t.Context(), p))
	w.settled(cloud, 2)
}

func TestACopyOfTheCommitPointIsEnoughToGoOn(t *testing.T) {
	w := newWorld(t)
	w.limits.Reverse = 300 * time.Millisecond
	w.dieAt("freezing.after_commit", cloud)
	p := w.open()
	w.caughtUp(legacy, cloud)
	must(t, w.a.Kill())
	err := w.engine().Resume(t.Context(), p)
	if err == nil || p.State() != Reversing {
		t.Fatalf("%v; it is %s", err, p.State())
	}
	w.writable(cloud)
	must(t, w.a.Restart(t.Context()))
	w.limits.Reverse = 20 * time.Second
	must(t, w.engine().Resume(t.Context(), w.open()))
	w.settled(cloud, 2)
}

// An application in another language, fenced by triggers, with an account that
// read_only does not stop.
func TestTheFencesRefuseOnTheOldPrimaryBeforeAndAfterTheReversal(t *testing.T) {
	w := newWorld(t)
	w.exec(w.server(legacy).DB, "CREATE TABLE doc (id INT PRIMARY KEY, bucket INT NOT NULL)")
	must(t, fence.Install(t.Context(), w.server(legacy).DB, fence.Sharded{Name: "doc", BucketColumn: "bucket"}, buckets, testservers.AccountDrover))
	w.caughtUp(legacy, cloud)
	refuses := func(when string) {
		t.Helper()
		if err := w.write(legacy, true); !errors.Is(err, fence.ErrRefused) {
			t.Errorf("%s: the library's fence: %v", when, err)
		}
		root, err := w.a.Open(testservers.AccountRoot, "app")
		must(t, err)
		defer root.Close()
		_, err = root.Exec("INSERT INTO doc VALUES (1, 3)")
		if !errors.Is(fence.Refused(3, err), fence.ErrRefused) {
			t.Errorf("%s: the trigger fence: %v", when, err)
		}
	}
	for _, point := range []crash.Point{"freezing.after_freeze", "freezing.after_commit", "switching.after_writable", "reversing.before_follow", "reversing.after_start"} {
		w.points = &crash.Points{}
		must(t, w.points.ArmFunc(string(point), func() { refuses("at " + string(point)) }))
		_, err := w.promote(cloud)
		must(t, err)
		refuses("after it")
		w.points = &crash.Points{}
		_, err = w.promote(legacy)
		must(t, err)
	}
	root, err := w.a.Open(testservers.AccountRoot, "app")
	must(t, err)
	defer root.Close()
	if _, err := root.Exec("INSERT INTO doc VALUES (1, 3)"); err != nil {
		t.Errorf("back on its first primary the trigger refuses: %v", err)
	}
}
