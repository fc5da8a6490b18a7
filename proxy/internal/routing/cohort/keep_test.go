package cohort

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/passport"
)

// restart makes another process's set of what this one kept, with the last good
// map m.
func (r *rig) restart(data []byte, m *bucketmap.Snapshot) error {
	r.t.Helper()
	window := time.Duration(r.set.window) * tick
	r.at = 0 // its own clock
	r.set = r.another(window)
	err := r.set.Restore(data, m, r.list)
	r.set.Change(nil, m, r.list)
	r.now = m
	return err
}

func TestARestartForgetsNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Hour)
	begun := r.set.Known()
	r.pass(time.Minute)
	r.publish(func(d *bucketmap.Draft) { r.home(d, 3, 4, "c"); d.Whitelist["ann"] = "cloud" })
	r.pass(30 * time.Minute)
	r.publish(func(d *bucketmap.Draft) {
		if err := d.PutShard(bucketmap.Shard{Name: "a", Datacenter: "legacy", Epoch: 2}); err != nil {
			t.Error(err)
		}
		r.home(d, 10, 31, "b")
		r.home(d, 0, 2, "b")
	})
	r.set.Settle(r.now)
	data := r.set.Append([]byte("behind"))[len("behind"):]
	r.wall = r.wall.Add(20 * time.Minute) // nobody runs
	if err := r.restart(data, r.now); err != nil {
		t.Fatal(err)
	}
	if !r.set.Known().Equal(begun) {
		t.Errorf("known since %s, want %s", r.set.Known(), begun)
	}
	r.wantUser("ann", passport.CohortMoved)
	r.pass(10*time.Minute - tick)
	r.wantUser("ann", passport.CohortMoved)
	r.pass(tick)
	r.wantUser("ann", passport.CohortStayed)
	for b, want := range map[bucketmap.BucketID]passport.Cohort{3: passport.CohortStayed, 5: passport.CohortMoved, 20: passport.CohortMoved, 40: passport.CohortStayed} {
		if got := r.ofBucket(b); got != want {
			t.Errorf("bucket %d %s", b, got)
		}
	}
	r.pass(30 * time.Minute)
	r.wantMoved()
}

// A process that dies between two writes leaves who was moved by a map that is
// not the last good one; the next map it sees marks them again.
func TestAFileThatIsAheadOfTheMapIsUsedAndOneBehindItIsNot(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Hour)
	first := r.now
	behind := r.set.Append(nil)
	r.publish(func(d *bucketmap.Draft) { r.home(d, 3, 3, "c") })
	second, ahead := r.now, r.set.Append(nil)
	begun := r.set.Known()
	r.pass(time.Minute)
	if err := r.restart(ahead, first); err != nil || !r.set.Known().Equal(begun) {
		t.Errorf("%v, known since %s", err, r.set.Known())
	}
	r.wantMoved(3)
	r.swap(second)
	r.wantMoved(3)
	if err := r.restart(behind, second); !errors.Is(err, ErrForeign) || !r.set.Known().Equal(r.wall) {
		t.Errorf("%v, known since %s", err, r.set.Known())
	}
}

func TestWhatWasPublishedWhileNobodyRanIsMarkedByTheFirstMapThatComes(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Hour)
	old, data, begun := r.now, r.set.Append(nil), r.set.Known()
	r.publish(func(d *bucketmap.Draft) { r.home(d, 7, 7, "c"); d.Whitelist["ann"] = "cloud" })
	missed := r.now
	r.pass(48 * time.Hour)
	if err := r.restart(data, old); err != nil {
		t.Fatal(err)
	}
	r.swap(missed)
	r.wantMoved(7)
	r.wantUser("ann", passport.CohortMoved)
	if !r.set.Known().Equal(begun) {
		t.Errorf("known since %s, want %s", r.set.Known(), begun)
	}
}

func TestAKeptSetOutlivesASecondRestartWithNoMapBetween(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Hour)
	r.publish(func(d *bucketmap.Draft) { r.home(d, 7, 7, "c") })
	data := r.set.Append(nil)
	for range 3 {
		r.pass(time.Minute)
		if err := r.restart(data, r.now); err != nil {
			t.Fatal(err)
		}
		r.wantMoved(7)
		data = r.set.Append(nil)
	}
}

func TestAnotherWhitelistFileThanTheOneOfBeforeMakesWhatIsKnownBeginAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Hour)
	r.file(map[string]bucketmap.Datacenter{"ann": "cloud", "bob": "cloud"})
	data, begun := r.set.Append(nil), r.set.Known()
	r.pass(time.Minute)
	if err := r.restart(data, r.now); err != nil || !r.set.Known().Equal(begun) {
		t.Errorf("%v, known since %s", err, r.set.Known())
	}
	r.wantUser("ann", passport.CohortMoved)
	r.list = nil
	if err := r.restart(data, r.now); err != nil || !r.set.Known().Equal(r.wall) {
		t.Errorf("%v, known since %s", err, r.set.Known())
	}
}

func TestAClockThatWasPutBackMakesNobodyForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Hour)
	r.publish(func(d *bucketmap.Draft) { r.home(d, 7, 7, "c") })
	data := r.set.Append(nil)
	r.wall = r.wall.Add(-time.Hour)
	if err := r.restart(data, r.now); err != nil {
		t.Fatal(err)
	}
	r.wantMoved(7)
	if r.set.Known().After(r.wall) {
		t.Errorf("known since %s, and it is %s", r.set.Known(), r.wall)
	}
}

func TestWhatIsNoKeptSetOfThisMapIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Hour)
	good := r.set.Append(nil)
	change := func(f func(b []byte)) []byte {
		b := bytes.Clone(good[:len(good)-sha256.Size])
		f(b)
		sum := sha256.Sum256(b)
		return append(b, sum[:]...)
	}
	for what, data := range map[string][]byte{
		"are too few":     good[:20],
		"checksum":        append(bytes.Clone(good), 0),
		"another form":    change(func(b []byte) { b[7]++ }),
		"another version": change(func(b []byte) { b[16]++ }),
		"longer ago":      change(func(b []byte) { b[len(b)-1] = 0xff }),
	} {
		if err := r.restart(data, r.now); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		r.wantMoved()
	}
	d := bucketmap.NewDraft(buckets / 2)
	d.Version, d.Default.Datacenter = 1, "legacy"
	if err := d.PutShard(bucketmap.Shard{Name: "a", Datacenter: "legacy"}); err != nil {
		t.Fatal(err)
	}
	r.home(d, 0, buckets/2-1, "a")
	if err := r.restart(good, r.snapshot(d)); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "64 buckets") {
		t.Error(err)
	}
}

// What is accepted encodes to the same bytes.
func FuzzRestore(f *testing.F) {
	r := newRig(f, time.Hour)
	f.Add(r.set.Append(nil))
	r.publish(func(d *bucketmap.Draft) {
		r.home(d, 7, 9, "c")
		d.Whitelist["ann"], d.Whitelist["bob"] = "cloud", "cloud"
	})
	r.pass(time.Minute)
	f.Add(r.set.Append(nil))
	now := r.now
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < sha256.Size {
			return
		}
		sum := sha256.Sum256(data[:len(data)-sha256.Size])
		copy(data[len(data)-sha256.Size:], sum[:])
		h, _, _, err := decode(data)
		if err != nil {
			return
		}
		set := New(Options{Window: time.Hour, Now: func() passport.Instant { return 0 }, Wall: func() time.Time { return time.UnixMilli(h.Saved) }})
		if set.Restore(data, now, nil) != nil || h.List != noList {
			return
		}
		if got := set.Append(nil); !bytes.Equal(got, data) {
			t.Errorf("%x became %x", data, got)
		}
	})
}
