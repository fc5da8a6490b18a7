package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestPromotionsUnderLoadAreMeasuredAndTheJudgeFindsWhatIsSpoilt runs the real
// programs on real servers, and then takes and doubles writes behind their back.
func TestPromotionsUnderLoadAreMeasuredAndTheJudgeFindsWhatIsSpoilt(t *testing.T) {
	o := options{promotions: 2, rate: 60, direct: 20, writers: 8, users: 64, pause: 10 * time.Millisecond}
	ctx := t.Context()
	f, err := newField(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}()
	r, err := o.measure(ctx, f, func(format string, args ...any) { t.Logf(format, args...) })
	if err != nil {
		t.Fatal(err)
	}
	if err := r.judge(ctx, f); err != nil {
		t.Fatal(err)
	}
	var report strings.Builder
	r.print(&report)
	t.Log(report.String())
	if err := r.verdict(o); err != nil || r.failed() != 0 {
		t.Errorf("%v, failures %v", err, r.failures)
	}
	if len(r.there) != 1 || len(r.back) != 1 || r.there[0] <= 0 || r.back[0] <= 0 {
		t.Errorf("stalls there %v, back %v; want one each way", r.there, r.back)
	}
	for _, name := range partNames {
		if len(*r.parts[name]) != 2 {
			t.Errorf("%s: %v; want one a promotion", name, *r.parts[name])
		}
	}
	if r.primary != legacy {
		t.Fatalf("the shard lives in %s after going there and back", r.primary)
	}

	straight := 0
	for _, e := range r.entries {
		if isDirect(e.user) && e.outcome == acknowledged {
			straight++
		}
	}
	if straight == 0 || straight == len(r.entries) {
		t.Errorf("%d of %d writes went straight to the shard; want some, and some through the proxy", straight, len(r.entries))
	}

	victim := r.entries[0] // through the proxy
	where := fmt.Sprintf(" WHERE user_id = '%s'", userID(victim.user))
	for _, step := range []struct {
		statements    []string
		lost, doubled int
	}{
		{[]string{"UPDATE steps SET steps = steps - 1, requests = requests - 1" + where,
			"UPDATE profile SET lifetime_steps = lifetime_steps - 1, updates = updates - 1" + where,
			"DELETE FROM request" + where + fmt.Sprintf(" AND request_id = '%s'", requestID(victim.number))}, 1, 0},
		{[]string{"UPDATE steps SET steps = steps + 2, requests = requests + 2" + where}, 1, 1},
	} {
		if err := f.servers[legacy].Exec(ctx, append([]string{"USE " + databaseName}, step.statements...)...); err != nil {
			t.Fatal(err)
		}
		again := &result{entries: r.entries, parts: newParts()}
		if err := again.judge(ctx, f); err != nil {
			t.Fatal(err)
		}
		for dc, v := range again.verdicts { // the replica has it by replication
			if v.lost != step.lost || v.doubled != step.doubled {
				t.Errorf("%s after %q: %s; want %d and %d: %q", dc, step.statements, v, step.lost, step.doubled, v.findings)
			}
		}
		if again.verdict(o) == nil {
			t.Errorf("%q passes", step.statements)
		}
	}
}

func TestWhatCannotBeRunIsRefused(t *testing.T) {
	for _, o := range []options{
		{promotions: 0, rate: 1, writers: 1, users: 1},
		{promotions: 1, rate: 0, writers: 1, users: 1},
		{promotions: 1, rate: 1, direct: 1, writers: 1, users: 1},
		{promotions: 1, rate: 1, writers: writersMax + 1, users: usersMax},
		{promotions: 1, rate: 1, writers: 2, users: 1},
		{promotions: 1, rate: 1, writers: 1, users: 1, pause: -1},
	} {
		if err := o.run(t.Context(), &strings.Builder{}); err == nil {
			t.Errorf("%+v was run", o)
		}
	}
}
