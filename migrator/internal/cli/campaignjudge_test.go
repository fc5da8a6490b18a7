package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/internal/testrun"
	"drover/migrator/internal/campaign"
	"drover/migrator/internal/slo"
)

// spoilt is one way in which a page of metrics is not to be believed.
type spoilt struct {
	name  string
	spoil func(page string) string
	// answer is in the page's place.
	answer http.HandlerFunc
	killed bool
	says   string
	// soak leaves it to DROVER_SOAK=1: package slo tries more such pages on its own.
	soak bool
}

// valued puts another value in the place of a counter's.
func valued(value string) func(string) string {
	line := regexp.MustCompile(`(?m)^(drover_proxy_responses_total\{.*\}) \S+$`)
	return func(page string) string { return line.ReplaceAllString(page, "$1 "+value) }
}

func spoiltPages() []spoilt {
	var once sync.Once
	frozen := ""
	all := []spoilt{
		{name: "killed", killed: true, says: "connection refused"},
		{name: "empty", spoil: func(string) string { return "" }, says: "neither"},
		{name: "never changes", spoil: func(page string) string { once.Do(func() { frozen = page }); return frozen }, says: "byte for byte"},
		{soak: true, name: "old", spoil: valued("5 1500000000000"), says: "away from now"},
		{soak: true, name: "a cache's", answer: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Age", "3600") }, says: "3600 s old"},
		{name: "NaN", spoil: valued("NaN"), says: "NaN, which is no count"},
		{soak: true, name: "infinite", spoil: valued("+Inf"), says: "+Inf, which is no count"},
		{soak: true, name: "negative", spoil: valued("-1"), says: "-1, which is no count"},
		{name: "half", spoil: func(page string) string {
			return page[:strings.Index(page, "drover_proxy_cohort_responses_total{")+len("drover_proxy_cohort_responses_total{")]
		}, says: "not a metrics page"},
		{soak: true, name: "HTML", spoil: func(string) string { return "<html><body>502 Bad Gateway</body></html>" }, says: "not a metrics page"},
		{soak: true, name: "500", answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, says: "500"},
		{name: "hangs", answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, says: "no answer within 2s"},
	}
	return slices.DeleteFunc(all, func(p spoilt) bool { return p.soak && os.Getenv("DROVER_SOAK") != "1" })
}

func TestACampaignGoesOnWhileTheProxiesFiguresAreWellAndHoldsOnEveryPageThatLies(t *testing.T) {
	w := newJudgedWorld(t)
	w.planned("bake: 100ms")
	ended := w.runs()
	began := time.Now()
	w.until("the first users", func(s campaign.Status) bool { return s.Users.Moved != 0 && s.Phase == campaign.PhaseMoving })
	t.Logf("the first users had moved after %v", time.Since(began).Round(time.Millisecond))
	pages := spoiltPages()
	moved := w.campaignStatus().Users.Moved
	for _, p := range pages {
		w.meets(p)
	}
	w.until("more users", func(s campaign.Status) bool { return s.Users.Moved > moved+2*stepOf })
	w.want(0, []string{"campaign", "abort"}, "in force after")
	if r := <-ended; r.code != exitAborted {
		t.Errorf("%d %s%s", r.code, r.out, r.err)
	}
	w.noneWentBackOrBeganBlind(pages)

	// The same proxies' answers, as they mirror them.
	w.differs.Store(true)
	w.compared(func(different uint64) bool { return different > 100 })
	w.differs.Store(false)
	w.planned("bake: 100ms, parity: 0.05")
	ended = w.runs()
	before := w.campaignStatus().Users.Moved
	w.until("users moved though answers once differed", func(s campaign.Status) bool { return s.Users.Moved > before })
	w.differs.Store(true)
	w.until("the stop", func(s campaign.Status) bool { return s.Phase == campaign.PhaseStopped })
	s := w.campaignStatus()
	if !strings.Contains(s.Reason, "differ, and at most 5 % may; since ") {
		t.Errorf("%s", s.Reason)
	}
	w.differs.Store(false)
	w.want(0, []string{"campaign", "resume"}, "in force after")
	w.until("users moved once it was mended", func(now campaign.Status) bool { return now.Users.Moved > s.Users.Moved })
	w.want(0, []string{"campaign", "abort"}, "in force after")
	<-ended
}

// meets spoils the page, wants the campaign to hold for that reason, and to go on
// by itself once the page is well again.
func (w *judgedWorld) meets(p spoilt) {
	w.t.Helper()
	began := time.Now()
	w.page.set(p.spoil, p.answer)
	if p.killed {
		w.page.kill()
	}
	var held campaign.Status
	testrun.Until(w.t, "held while the page is "+p.name, func() error {
		r := w.run("campaign", "status", "-o", "json")
		if err := json.Unmarshal([]byte(r.out), &held); err != nil {
			w.t.Fatalf("%v in %s%s", err, r.out, r.err)
		}
		if r.code != exitHeld || !strings.Contains(held.Reason, p.says) || held.Verdict.Level != slo.Unknown || held.Decision.Cause != campaign.CauseUnknown {
			return fmt.Errorf("%s: exit code %d, %s: %s", p.name, r.code, held.Phase, held.Reason)
		}
		return nil
	})
	after := time.Since(began)
	if age := time.Since(held.Looked); !held.Live || age > campaign.LookedMax {
		w.t.Errorf("%s: live %v, and looked %s ago", p.name, held.Live, age)
	}
	healed := time.Now()
	w.page.set(nil, nil)
	if p.killed {
		w.page.listen()
	}
	w.until("going on after the page was "+p.name, func(s campaign.Status) bool {
		return s.Phase == campaign.PhaseMoving && s.Verdict.Level == slo.Healthy
	})
	w.t.Logf("%s: held after %v, went on %v after it was well: %s", p.name, after.Round(time.Millisecond), time.Since(healed).Round(time.Millisecond), held.Reason)
}

// noneWentBackOrBeganBlind reads the whole journal.
func (w *judgedWorld) noneWentBackOrBeganBlind(pages []spoilt) {
	w.t.Helper()
	var last campaign.Entry // the last decision
	reasons := ""
	for _, e := range w.entries() {
		switch {
		case e.Kind == campaign.EntryDecision:
			last = e
			if e.Level == slo.Unknown {
				reasons += e.Why + "\n"
			}
			if e.Level == slo.Unknown != (e.Decision.Action == campaign.ActHold) || e.Level == slo.Burning {
				w.t.Errorf("line %d: %s by objectives that are %s: %s", e.Seq, e.Decision.Action, e.Level, e.Why)
			}
		case e.Kind == campaign.EntryReturning, e.Kind == campaign.EntryStep && (e.State == campaign.Returning || e.State == campaign.Returned):
			w.t.Errorf("line %d: users went back: %+v", e.Seq, e)
		case e.Kind == campaign.EntryStep && e.State == campaign.Running && last.Decision.Action != campaign.ActBegin,
			e.Kind == campaign.EntryStep && e.State == campaign.Passed && last.Decision.Action != campaign.ActPass:
			w.t.Errorf("line %d: %s is %s after the decision to %s: %s", e.Seq, e.Step, e.State, last.Decision.Action, last.Why)
		}
	}
	for _, p := range pages {
		if !strings.Contains(reasons, p.says) {
			w.t.Errorf("no decision in the journal tells of the page that was %s (%q):\n%s", p.name, p.says, reasons)
		}
	}
}

// compared waits until the proxy has found so many differing answers.
func (w *judgedWorld) compared(enough func(different uint64) bool) {
	w.t.Helper()
	testrun.Until(w.t, "differing answers", func() error {
		if c := w.mirrored(); !enough(c.Different) {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
}
