package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
)

// told are three writes of one user, one for each outcome.
func told() []entry {
	return []entry{{user: 1, number: 1, outcome: acknowledged}, {user: 1, number: 2, outcome: refused}, {user: 1, number: 3, outcome: unknown}}
}

// kept is a book of user 1 with these requests, each counted once.
func kept(requests ...string) *book {
	b := &book{requests: map[string]uint32{}}
	for _, r := range requests {
		b.requests[r] = 7
	}
	for i := range b.sums {
		b.sums[i] = len(requests)
	}
	return b
}

func (b *book) counting(sums ...int) *book {
	copy(b.sums[:], sums)
	return b
}

func TestWhatIsLostOrDoubledIsCountedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		book          *book
		lost, doubled int
	}{
		"all as told":                        {kept("1"), 0, 0},
		"the unknown one is there":           {kept("1", "3"), 0, 0},
		"the acknowledged one is not there":  {kept(), 1, 0},
		"its row alone is not there":         {kept().counting(1, 1, 1, 1), 1, 0},
		"the day has not counted it":         {kept("1").counting(0, 0, 1, 1), 1, 0},
		"the profile has not counted it":     {kept("1").counting(1, 1, 1, 0), 1, 0},
		"the day has counted it twice":       {kept("1").counting(2, 2, 1, 1), 0, 1},
		"the profile has counted it twice":   {kept("1").counting(1, 1, 2, 2), 0, 1},
		"the refused one is there":           {kept("1", "2"), 0, 1},
		"one is there that nobody sent":      {kept("1", "4"), 0, 1},
		"one lost does not hide one doubled": {kept("1").counting(2, 2, 0, 0), 1, 1},
	} {
		v := audit(told(), map[string]*book{"u1": c.book})
		if v.lost != c.lost || v.doubled != c.doubled {
			t.Errorf("%s: %s; want %d and %d", name, v, c.lost, c.doubled)
		}
		if fine := c.lost+c.doubled == 0; fine != (len(v.findings) == 0) {
			t.Errorf("%s: findings %q", name, v.findings)
		}
	}
}

func TestADirectWriteIsCountedByTheDayAlone(t *testing.T) {
	entries := told()
	for i := range entries {
		entries[i].user += directFirst
	}
	for want, b := range map[[2]int]*book{
		{0, 0}: kept("1").counting(1, 1, 0, 0),
		{1, 0}: kept("1").counting(1, 0, 0, 0),
		{0, 1}: kept("1").counting(2, 1, 0, 0),
	} {
		if v := audit(entries, map[string]*book{"d1": b}); v.lost != want[0] || v.doubled != want[1] {
			t.Errorf("%v: %s; want %v", b.sums, v, want)
		}
	}
}

func TestAUserWithoutABookHasLostEverythingAndABookWithoutAUserIsDoubled(t *testing.T) {
	v := audit(told(), map[string]*book{"stranger": kept("1", "2")})
	if v.lost != 1 || v.doubled != 2 {
		t.Errorf("%s; want 1 and 2", v)
	}
}

func TestAnEntryLearnsTheServerFromItsRow(t *testing.T) {
	entries := told()
	audit(entries, map[string]*book{"u1": kept("1")})
	if entries[0].server != 7 || entries[1].server != 0 || entries[2].server != 0 {
		t.Errorf("%+v", entries)
	}
}

func TestAnAnswerDecidesWhatBecameOfAWrite(t *testing.T) {
	for _, c := range []struct {
		status int
		text   string
		want   outcome
		failed bool
	}{
		{200, `{"total":1}`, acknowledged, false},
		{200, `{"total":1,"duplicate":true}`, acknowledged, true},
		{200, `<html>`, unknown, true},
		{421, `{"error":"frozen","outcome":"not_committed"}`, refused, true},
		{503, `{"error":"no map","outcome":"not_committed"}`, refused, true},
		{500, `{"error":"lost","outcome":"unknown"}`, unknown, true},
		{502, `bad gateway`, unknown, true},
		{504, ``, unknown, true},
	} {
		got, err := judgeAnswer(c.status, []byte(c.text))
		if got != c.want || (err != nil) != c.failed {
			t.Errorf("%d %s: %d, %v; want %d", c.status, c.text, got, err, c.want)
		}
	}
}

func TestFailuresAreCountedByStatusAndReasonWhateverTheirNumbers(t *testing.T) {
	c := newCrowd(nil, 0, 1, 1)
	for _, text := range []string{`bucket 3 is frozen`, `bucket 14 is frozen`} {
		_, err := judgeAnswer(421, []byte(text))
		c.note(err)
	}
	_, err := judgeAnswer(503, []byte("bucket 3 is frozen"))
	c.note(err)
	if want := []string{"status 421: bucket N is frozen", "status 503: bucket N is frozen"}; !slices.Equal(sorted(c.reasons()), want) {
		t.Errorf("got %q, want %q", sorted(c.reasons()), want)
	}
	if n := c.reasons()["status 421: bucket N is frozen"]; n != 2 {
		t.Errorf("%d times, want 2", n)
	}
}

// fine is a result that passes the gate.
func fine() *result {
	return &result{took: time.Second, entries: make([]entry, 100), failures: map[string]int{}, promotions: make([]promotion, 2),
		there: []time.Duration{time.Millisecond}, back: []time.Duration{stallP99}, primary: legacy,
		verdicts: map[bucketmap.Datacenter]*verdict{legacy: {}, cloud: {}}}
}

func TestTheGateFailsForEachThingThatIsNotGoodEnough(t *testing.T) {
	for want, spoil := range map[string]func(*result){
		"":                                func(*result) {},
		"legacy: lost 1, duplicated 0":    func(r *result) { r.verdicts[legacy].lost = 1 },
		"cloud: lost 0, duplicated 1":     func(r *result) { r.verdicts[cloud].doubled = 1 },
		"1 writes by two primaries":       func(r *result) { r.stale = 1 },
		"2 requests failed":               func(r *result) { r.failures["status 503"] = 2 },
		"back they are p50":               func(r *result) { r.back[0]++ },
		"there they are p50":              func(r *result) { r.there[0] = time.Second },
		"of 2 stalls 1 could be":          func(r *result) { r.unmeasured = 1 },
		"of 2 stalls 2 could be":          func(r *result) { r.there = nil },
		"50 writes/s of 100: the machine": func(r *result) { r.took *= 2 },
	} {
		r := fine()
		spoil(r)
		err := r.verdict(options{gate: true, rate: 100})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	r := fine()
	r.verdicts[legacy].lost = 1
	if r.verdict(options{rate: 100}) == nil {
		t.Error("a lost write passes without --gate")
	}
}
