package promote

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/migrator/internal/crash"
	"drover/shardlib/fence"
)

// edit publishes another version of the map.
func (w *world) edit(edit func(*bucketmap.Draft)) {
	_, err := bucketmap.Update(context.Background(), w.store, bucketmap.Change{Who: "another", Why: "test"}, func(d *bucketmap.Draft) error {
		edit(d)
		return nil
	})
	must(w.t, err)
}

func TestAMapThatCannotBePublishedStopsAPromotionBeforeItsCommitPoint(t *testing.T) {
	w := newWorld(t)
	ws := w.startWriters()
	rename := func(from, to bucketmap.ShardName) { // somebody gives the shard another name
		w.edit(func(d *bucketmap.Draft) {
			for _, h := range d.Holds {
				d.DropHolds(h.Move)
			}
			shard, _ := d.Shard(from)
			shard.Name = to
			must(t, d.PutShard(shard))
			must(t, d.SetHome(0, buckets-1, to))
			must(t, d.DropShard(from))
		})
	}
	must(t, w.points.ArmFunc("holding.after_hold", func() { rename(alpha, "omega") }))
	if _, err := w.promote(cloud); err == nil || !strings.Contains(err.Error(), `no shard "alpha"`) {
		t.Fatalf("error %v, want the map's", err)
	}
	w.writable(legacy)
	ws.waitAcked(10)
	rename("omega", alpha)
	w.points = &crash.Points{}
	must(t, w.engine().Resume(t.Context(), w.open()))
	w.settled(cloud, 2)
	ws.check(cloud)
}

// What was under way when the hold came ends a little later: that costs no hold.
func TestAFreezeKnocksAgainBeforeTheHoldIsGivenUp(t *testing.T) {
	w := newWorld(t)
	db := w.appDB(legacy)
	var writing *sql.Tx
	must(t, w.points.ArmFunc("freezing.before_freeze", func() {
		var err error
		writing, err = db.BeginTx(context.Background(), nil)
		must(t, err)
		_, err = fence.CheckWrite(context.Background(), writing, 5)
		must(t, err)
	}))
	knocks := 0
	w.executed = func(s Statement) { // before it is executed
		if s.State == Freezing && strings.Contains(s.Do, "SET state = 'frozen'") {
			if knocks++; knocks == freezeKnocks {
				must(t, writing.Commit())
			}
		}
	}
	if _, err := w.promote(cloud); err != nil {
		t.Fatal(err)
	}
	w.settled(cloud, 2)
	if knocks != freezeKnocks {
		t.Errorf("it knocked %d times, want %d", knocks, freezeKnocks)
	}
	for _, note := range w.notes() {
		if strings.Contains(note, "stepped back") {
			t.Errorf("it says %q", note)
		}
	}
}
