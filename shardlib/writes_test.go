package shardlib

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/shardlib/fence"
)

func at(t testing.TB, text string) position {
	t.Helper()
	p, err := parsePosition(text, ",")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPositionsAreComparedByDomain(t *testing.T) {
	for _, c := range []struct {
		p, o           string
		reached, knows bool
		merged         string
	}{
		{"", "", true, true, ""},
		{"0-1-5", "", true, true, "0-1-5"},
		{"", "0-1-5", false, false, "0-1-5"},
		{"0-1-5", "0-1-5", true, true, "0-1-5"},
		{"0-1-4", "0-2-5", false, true, "0-2-5"}, // a promoted server goes on with the numbers
		{"0-1-9", "0-2-5", true, true, "0-1-9"},
		{"0-1-9", "0-1-5,7-1-1", false, false, "0-1-9,7-1-1"},
		{"7-1-1,0-1-9", "0-1-5,7-1-1", true, true, "0-1-9,7-1-1"},
		{"7-1-1,0-1-4", "0-1-5,7-1-1", false, true, "0-1-5,7-1-1"},
		{"4294967295-4294967295-18446744073709551615", "0-1-1", false, false, "0-1-1,4294967295-4294967295-18446744073709551615"},
		{"0-1-5,0-2-7,0-3-6", "0-1-7", true, true, "0-2-7"},
	} {
		p, o := at(t, c.p), at(t, c.o)
		before := p.text(",")
		if p.reached(o) != c.reached || p.knows(o) != c.knows || p.merge(o).text(",") != c.merged || p.text(",") != before {
			t.Errorf("%s and %s: reached %v, knows %v, merged %s", c.p, c.o, p.reached(o), p.knows(o), p.merge(o).text(","))
		}
	}
	for _, bad := range []string{"x", "0-1", "0-1-2-3", "-1-1-1", "0-1-18446744073709551616", "0-1-1,", "4294967296-1-1"} {
		if p, err := parsePosition(bad, ","); err == nil {
			t.Errorf("%q is %v", bad, p)
		}
	}
	var many string
	for d := range domainsMax + 1 {
		many += fmt.Sprintf("%d-1-1,", d)
	}
	if _, err := parsePosition(many[:len(many)-1], ","); err == nil {
		t.Error("too many domains were taken")
	}
}

func FuzzTokenThatIsTakenIsWrittenTheSame(f *testing.F) {
	for _, p := range []string{"", "0-1-5", "0-1-5,7-2-9"} {
		f.Add(formatToken(alice, evidence{epoch: 3, position: at(f, p)}))
	}
	f.Add("1..0.")
	f.Fuzz(func(t *testing.T, token string) {
		e, err := parseToken(alice, token)
		if err == nil && (formatToken(alice, e) != token || !e.after.IsZero()) {
			t.Fatalf("%q is %+v", token, e)
		}
		if _, err := parseToken("bob", token); err == nil {
			t.Fatalf("%q is bob's, or alice's?", token)
		}
	})
}

func TestALongTokenFits(t *testing.T) {
	var p position
	for d := range uint32(domainsMax) {
		p = p.merge(position{{^uint32(0) - d, ^uint32(0), ^uint64(0)}})
	}
	token := formatToken(alice, evidence{epoch: ^bucketmap.Epoch(0), position: p})
	if e, err := parseToken(alice, token); err != nil || !slices.Equal(e.position, p) || len(token) > tokenBytesMax {
		t.Fatalf("%d bytes: %v", len(token), err)
	}
}

// wrote is a write of a user in bucket 1 at alpha.
func (w *writes) wrote(user bucketmap.UserID, epoch bucketmap.Epoch, p position, after time.Time) {
	w.remember(&Tx{user: user, home: Home{Bucket: 1, Shard: "alpha", Epoch: epoch}}, evidence{epoch, p, after})
}

func TestAWriteThatIsForgottenIsDemandedOfEverybody(t *testing.T) {
	w := newWrites(2)
	home := Home{Bucket: 1, Shard: "alpha", Epoch: 1}
	w.wrote("a", 1, at(t, "0-1-5"), time.Time{})
	w.wrote("b", 1, at(t, "0-1-6"), time.Time{})
	if e := w.known("c", home); len(e.position) != 0 {
		t.Fatalf("demanded of c: %+v", e)
	}
	w.wrote("a", 1, at(t, "0-1-7"), time.Time{})
	w.wrote("c", 1, at(t, "0-1-8"), time.Time{}) // b is the one who wrote the longest ago
	for user, want := range map[bucketmap.UserID]string{"a": "0-1-7", "b": "0-1-6", "c": "0-1-8", "d": "0-1-6"} {
		if e := w.known(user, home); e.position.text(",") != want || len(w.mu.users) != 2 {
			t.Errorf("demanded of %s: %+v", user, e)
		}
	}
	if e := w.known("b", Home{Bucket: 1, Shard: "beta", Epoch: 1}); len(e.position) != 0 {
		t.Errorf("demanded at another shard: %+v", e)
	}
	// One of an unknown position, forgotten, until a sample has it.
	now := time.Now()
	w.wrote("e", 1, nil, now)
	w.wrote("f", 1, nil, time.Time{})
	w.wrote("g", 1, nil, time.Time{})
	w.sampled("alpha", sample{begun: now.Add(-1), position: at(t, "0-1-10")})
	if e := w.known("z", home); !e.after.Equal(now) {
		t.Fatalf("demanded: %+v", e)
	}
	w.sampled("alpha", sample{begun: now, position: at(t, "0-1-11")})
	if e := w.known("z", home); !e.after.IsZero() || e.position.text(",") != "0-1-11" {
		t.Fatalf("demanded: %+v", e)
	}
}

func TestAWriteByALaterEpochThanTheMapsIsDemanded(t *testing.T) {
	w := newWrites(1)
	tx := &Tx{user: "a", home: Home{Bucket: 1, Shard: "alpha", Epoch: 1}}
	w.remember(tx, evidence{epoch: 3, position: at(t, "0-1-5")})
	w.wrote("b", 1, at(t, "0-1-1"), time.Time{}) // a is forgotten
	for _, epoch := range []bucketmap.Epoch{1, 2} {
		if e := w.known("a", Home{Bucket: 1, Shard: "beta", Epoch: epoch}); e.seen(epoch, at(t, "0-1-99"), time.Now()) || e.epoch != 3 {
			t.Errorf("epoch %d is enough: %+v", epoch, e)
		}
	}
	e := w.known("a", Home{Bucket: 1, Shard: "alpha", Epoch: 3})
	if e.seen(3, at(t, "0-1-4"), time.Now()) || !e.seen(3, at(t, "0-1-5"), time.Now()) || len(w.mu.epochs) != 0 {
		t.Errorf("demanded: %+v", e)
	}
}

func TestEvidenceOfAnEarlierEpochIsInALaterOne(t *testing.T) {
	now := time.Now()
	e := evidence{epoch: 2, position: at(t, "0-1-5"), after: now}
	for _, c := range []struct {
		epoch   bucketmap.Epoch
		at      string
		sampled time.Time
		seen    bool
	}{
		{1, "0-1-9", now, false}, {2, "0-1-4", now, false}, {2, "0-1-5", now.Add(-1), false},
		{2, "0-1-5", now, true}, {3, "", now.Add(-time.Hour), true},
	} {
		if e.seen(c.epoch, at(t, c.at), c.sampled) != c.seen {
			t.Errorf("%+v: want %v", c, c.seen)
		}
	}
	later := evidence{epoch: 3}
	if got := e.and(later); got.epoch != 3 || got.position != nil || !got.after.IsZero() || later.and(e).epoch != 3 {
		t.Errorf("got %+v", got)
	}
}

func TestDomainsWithoutAnOrderAreNotTrusted(t *testing.T) {
	now := time.Now()
	shown := func(p string, epoch bucketmap.Epoch) looked {
		return looked{position: at(t, p), shard: fenceRow{fence.Active, 1}, bucket: fenceRow{fence.Active, epoch}, primary: 7}
	}
	for _, c := range []struct {
		name, sampled string
		replica       looked
		mapSince      time.Time
		want          why
	}{
		{"one domain", "0-7-5", shown("0-7-5", 2), now, whyProven},
		{"a later epoch", "0-7-5", shown("0-7-5", 3), now, whyProven},
		{"an earlier epoch", "0-7-5", shown("0-7-5", 1), now, whyEpoch},
		{"behind", "0-7-5", shown("0-7-4", 2), now, whyBehind},
		{"a domain that it has not", "0-7-5,1-7-1", shown("0-7-5", 2), now.Add(-time.Hour), whyDomain},
		{"two domains", "0-7-5,1-7-1", shown("0-7-5,1-7-1", 2), now.Add(-time.Hour), whyProven},
		{"two, and the bucket is not there for long", "0-7-5,1-7-1", shown("0-7-5,1-7-1", 2), now, whyDomain},
		{"two, and the map is behind", "0-7-5,1-7-1", shown("0-7-5,1-7-1", 3), now.Add(-time.Hour), whyDomain},
	} {
		r := staleRead{home: Home{Epoch: 2, ShardEpoch: 1}, staleness: Staleness{Max: time.Minute}, mapSince: c.mapSince,
			samples: []sample{{begun: now.Add(-time.Second), position: at(t, c.sampled), primary: 7}}}
		if age, got := r.judge(c.replica, now); got != c.want || (got == whyProven) != (age == time.Second) {
			t.Errorf("%s: %s, %v", c.name, got, age)
		}
	}
}

func TestOldSamplesServeAReplicaThatIsBehind(t *testing.T) {
	s, begun := new(sampler), time.Now().Add(-time.Hour)
	for i := range 1000 {
		s.mu.flight = make(chan struct{})
		one := sample{begun: begun.Add(time.Duration(i) * time.Second), position: position{{0, 7, uint64(i)}}, primary: 7}
		if err := s.take(one, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.mu.samples); n > samplesMax || n < samplesMax/2 || s.mu.samples[n-1].position[0].sequence != 999 {
		t.Fatalf("%d samples, the newest %+v", n, s.mu.samples[n-1])
	}
	if oldest := s.mu.samples[0].position[0].sequence; oldest > 500 {
		t.Errorf("the oldest sample is number %d of 1000", oldest)
	}
	r := staleRead{staleness: Staleness{Max: time.Hour}, samples: s.mu.samples}
	k := looked{position: position{{0, 7, 990}}, shard: fenceRow{fence.Active, 1}, bucket: fenceRow{fence.Active, 1}, primary: 7}
	if age, why := r.judge(k, begun.Add(1000*time.Second)); why != whyProven || age != 10*time.Second {
		t.Errorf("%s, %v", why, age)
	}
	// What the replica has, and the primary has not, is no copy.
	s.saw(position{{0, 7, 5000}})
	for range 2 {
		s.mu.flight = make(chan struct{})
		if err := s.take(sample{begun: time.Now(), position: position{{0, 7, 1001}}, primary: 7}, nil); err == nil || len(s.mu.samples) != 0 {
			t.Errorf("%v, %d samples", err, len(s.mu.samples))
		}
	}
}
