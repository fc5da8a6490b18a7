package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"drover/internal/testrun"
	"drover/migrator/internal/campaign"
	"drover/migrator/internal/slo"
)

// judges keeps writing a verdict, until the test ends.
func (d *desktop) judges(level func() slo.Level) string {
	d.t.Helper()
	path := d.path("verdict.json")
	write := func() {
		text, err := json.Marshal(slo.Verdict{Level: level(), Reason: "as the test says", At: time.Now()})
		if err == nil {
			err = os.WriteFile(path+".new", text, 0o600)
		}
		if err == nil {
			err = os.Rename(path+".new", path)
		}
		if err != nil && d.t.Context().Err() == nil {
			d.t.Error(err)
		}
	}
	write()
	ctx, cancel := context.WithCancel(d.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			write()
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	d.t.Cleanup(func() { cancel(); <-ended })
	return path
}

// campaign runs the campaign beside the test, and returns what it gave.
func (d *desktop) campaign(verdicts string) chan ran {
	d.t.Helper()
	ended := make(chan ran, 1)
	go func() {
		var out, errOut bytes.Buffer
		code := Run(d.t.Context(), Environment{Args: []string{"campaign", "run", "--verdicts", verdicts, "--every", "50ms"},
			Out: &out, Err: &errOut, Who: "runner", Config: d.path("migrator.yaml")})
		ended <- ran{code, out.String(), errOut.String()}
	}()
	return ended
}

func (d *desktop) campaignStatus() campaign.Status {
	d.t.Helper()
	s, err := campaign.Read(d.path("campaign"), time.Now())
	must(d.t, err)
	return s
}

// until waits for a campaign to be so.
func (d *desktop) until(what string, is func(campaign.Status) bool) {
	d.t.Helper()
	testrun.Until(d.t, what, func() error {
		if s := d.campaignStatus(); !is(s) {
			return fmt.Errorf("%s: %s, %+v", s.Phase, s.Reason, s.Users)
		}
		return nil
	})
}

func TestACampaignMovesEverybodyReturnsAndMovesThemAgainByTheEngines(t *testing.T) {
	d := ready(t)
	d.exec(d.alpha, "INSERT INTO steps (user_id, day) VALUES ('"+userOf(5)+"', '2026-11-21'), ('"+userOf(40)+"', '2026-11-21')")
	plan := []string{"campaign", "plan", "--to", "cloud", "--user", "ann", "--singles", "1", "--batch-max", "62", "--bake", "100ms",
		"--rate", "1000000", "--rate-max", "10000000", "--into", "gamma", "--out", d.path("plan.yaml")}
	d.unchanged(0, plan, "64 users", "for map 1")
	d.unchanged(3, plan, "is there already")
	text, err := os.ReadFile(d.path("plan.yaml"))
	must(t, err)
	// A person makes it three waves: the whitelist, bucket 0, all others.
	first, _, _ := strings.Cut(string(text), "- name: batches")
	d.write("plan.yaml", first+`- name: batches
  kind: buckets
  gate: {bake: 100ms}
  steps:
  - {buckets: 1-63, from: alpha, to: gamma}
`)
	d.unchanged(3, []string{"campaign", "run"}, "there is no campaign")
	d.unchanged(0, []string{"campaign", "apply", d.path("plan.yaml"), "--dry-run"}, "the plan is good")
	d.unchanged(0, []string{"campaign", "simulate", d.path("plan.yaml"), "--runs", "3"}, "worst hour")
	d.unchanged(0, []string{"campaign", "apply", d.path("plan.yaml")}, "has begun with map 1")
	d.unchanged(3, []string{"campaign", "apply", d.path("plan.yaml")}, "is not over")
	d.unchanged(0, []string{"campaign", "status"}, "ready", "singles/1", "none is live")

	verdicts := d.judges(func() slo.Level { return slo.Healthy })
	ended := d.campaign(verdicts)
	d.until("the first bucket", func(s campaign.Status) bool { return s.Waves[1].Users.Moved == 1 })
	d.want(0, []string{"campaign", "return", "--all", "--reason", "a look"}, "in force after")
	d.until("the way back", func(s campaign.Status) bool { return s.Phase == campaign.PhaseStopped && s.Users.Moved == 0 })
	if snap := d.load(); snap.WhitelistLen() != 0 || snap.BucketsOf("alpha") != 64 {
		t.Errorf("%d on the whitelist, %d buckets on alpha", snap.WhitelistLen(), snap.BucketsOf("alpha"))
	}
	d.want(exitStopped, []string{"campaign", "status"}, "returned", "a look")
	d.want(3, []string{"campaign", "run", "--verdicts", verdicts}, "another run")
	d.want(0, []string{"campaign", "resume"}, "in force after")
	if r := <-ended; r.code != 0 || !strings.Contains(r.out, "is done") {
		t.Fatalf("%d %s%s", r.code, r.out, r.err)
	}
	snap := d.load()
	if snap.BucketsOf("gamma") != 64 || snap.WhitelistLen() != 1 || snap.Default().Datacenter != "cloud" {
		t.Errorf("%d on gamma, default %+v", snap.BucketsOf("gamma"), snap.Default())
	}
	if n := d.scan(d.gamma, "SELECT COUNT(*) FROM steps"); n != "2" {
		t.Errorf("%s rows on gamma", n)
	}
	var s campaign.Status
	d.reads(&s, "campaign", "status")
	if s.Phase != campaign.PhaseDone || s.Users.Moved != s.Users.All || len(s.Journal) == 0 || len(s.Moved) == 0 {
		t.Errorf("%+v", s)
	}
}

func TestACampaignWithoutObjectivesMovesNobodyAndIsAborted(t *testing.T) {
	d := ready(t)
	d.want(0, []string{"campaign", "plan", "--to", "cloud", "--out", d.path("plan.yaml")})
	d.want(0, []string{"campaign", "apply", d.path("plan.yaml")})
	ended := d.campaign(d.path("nobody.json"))
	d.until("the hold", func(s campaign.Status) bool { return s.Phase == campaign.PhaseHeld })
	d.want(exitHeld, []string{"campaign", "status"}, "nobody has written a verdict")
	d.want(3, []string{"campaign", "rate", "1000"}, "the plan allows")
	d.want(0, []string{"campaign", "pause"}, "in force after")
	d.want(3, []string{"campaign", "pause"}, "it is paused")
	d.want(exitPaused, []string{"campaign", "status"}, "tester")
	d.want(0, []string{"campaign", "abort"}, "in force after")
	if r := <-ended; r.code != exitAborted {
		t.Errorf("%d %s%s", r.code, r.out, r.err)
	}
	d.want(exitAborted, []string{"campaign", "status"}, "aborted")
	if d.load().BucketsOf("gamma") != 0 {
		t.Error("somebody has moved")
	}
	for _, args := range [][]string{{"campaign", "rate", "much"}, {"campaign", "plan"}, {"campaign", "run", "--every", "1ns"}, {"campaign", "apply", "none.yaml"}} {
		d.want(2, args)
	}
}

func TestACampaignPromotesAShardAndPromotesItBack(t *testing.T) {
	t.Parallel() // it has servers of its own
	w := newShardWorld(t)
	w.ready()
	ctx := t.Context()
	var said bytes.Buffer
	a := &app{env: Environment{Who: "test"}, configPath: w.config, out: &said, errOut: &said}
	must(t, a.open())
	t.Cleanup(func() { must(t, a.close()) })
	m := &movers{app: a, to: "cloud", why: "a campaign"}
	s := campaign.Step{Shard: "alpha", Datacenter: "legacy"}
	for _, to := range []string{"cloud", "cloud", "legacy", "legacy"} { // twice is as once
		do := m.Forward
		if to == "legacy" {
			do = m.Back
		}
		if err := do(ctx, s); err != nil {
			t.Fatalf("%v\n%s", err, said.String())
		}
		if have := w.lives(); string(have.Datacenter) != to {
			t.Fatalf("it lives in %s, want %s", have.Datacenter, to)
		}
	}
	must(t, m.Abandon(ctx, s))
	if e := w.lives().Epoch; e != 3 {
		t.Errorf("epoch %d, want 3", e)
	}
}

func TestACampaignRunKilledWhileUsersAreHeldIsGoneOnWithByTheNextOne(t *testing.T) {
	d := ready(t)
	d.want(0, []string{"campaign", "plan", "--to", "cloud", "--singles", "1", "--batch-max", "63", "--bake", "10ms", "--rate", "1000000", "--out", d.path("plan.yaml")})
	d.want(0, []string{"campaign", "apply", d.path("plan.yaml")})
	verdicts := d.judges(func() slo.Level { return slo.Healthy })
	program := exec.CommandContext(t.Context(), os.Args[0], "campaign", "run", "--verdicts", verdicts, "--every", "50ms")
	program.Env = append(os.Environ(), programVariable+"=1", "DROVER_MIGRATOR_CONFIG="+d.path("migrator.yaml"), "DROVER_CRASH_AT=holding.after_journal#2")
	if said, err := program.CombinedOutput(); err == nil || program.ProcessState.ExitCode() != -1 {
		t.Fatalf("it was not killed: %v\n%s", err, said)
	}
	if s := d.campaignStatus(); s.Live || s.Waves[0].Steps[0].State == campaign.Waiting {
		t.Errorf("live %v: %+v", s.Live, s.Waves[0].Steps)
	}
	if r := <-d.campaign(verdicts); r.code != 0 {
		t.Fatalf("%d %s%s", r.code, r.out, r.err)
	}
	if d.load().BucketsOf("gamma") != 64 {
		t.Errorf("%d buckets on gamma", d.load().BucketsOf("gamma"))
	}
}
