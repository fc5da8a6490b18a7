package slo

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"drover/internal/config"
)

func TestNothingIsHealthyBeforeItWasWatchedForTheShortestWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, nil)
	want(t, w.step(well), Unknown, "watched for")
	want(t, w.steps(4*time.Minute, well), Unknown, "watched for")
	want(t, w.steps(2*time.Minute, well), Healthy, "limit")
}

func TestAFaultOnJustMovedUsersBurnsThoughTheGlobalRatioHidesIt(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]users{"2 % errors": {good: 98, failed: 2}, "200 ms more": {good: 20, slow: 80}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2, nil)
			ill := func(p *fakeProxy) {
				p.add("legacy", Stayed, users{good: 10_000})
				p.add("cloud", Stayed, users{good: 10_000})
				p.add("cloud", Moved, fault)
			}
			// Those who were moved before were well for long: the long windows hide it.
			w.steps(20*time.Minute, func(p *fakeProxy) {
				p.add("legacy", Stayed, users{good: 10_000})
				p.add("cloud", Stayed, users{good: 10_000})
				p.add("cloud", Moved, users{good: 100})
			})
			began, v := w.now, w.Last()
			want(t, v, Healthy)
			for v.Level != Burning && w.now.Sub(began) < 10*time.Minute {
				v = w.step(ill)
			}
			want(t, v, Burning, "cloud, moved")
			t.Logf("burning %v after the fault began: %s", w.now.Sub(began), v.Reason)
			if took := w.now.Sub(began); took > 3*time.Minute {
				t.Errorf("it took %v", took)
			}
			for _, f := range v.Figures {
				if f.Cohort == "" && f.Level != Healthy {
					t.Errorf("the global ratio shows it: %+v", f)
				}
			}
		})
	}
}

func TestAFaultOfTheWholeDatacenterBurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nil)
	w.steps(5*time.Minute, well)
	v := w.steps(5*time.Minute, func(p *fakeProxy) {
		p.add("legacy", Stayed, users{good: 1000})
		p.add("cloud", Stayed, users{good: 90, failed: 10})
		p.add("cloud", Moved, users{good: 18, failed: 2})
	})
	want(t, v, Burning, "cloud", "availability")
	if v.Figures[0].Burn < 14.4 || v.Figures[0].Level != Burning || v.Figures[0].Why != "" && v.Figures[0].Severity != Compare {
		t.Errorf("%+v", v.Figures[0])
	}
	v = w.steps(31*time.Minute, well)
	if v.Level == Burning {
		t.Errorf("still burning after the short windows are clean: %s", v.Reason)
	}
}

func TestABudgetThatIsSpentSlowlyIsUnhealthy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nil)
	v := w.steps(10*time.Minute, func(p *fakeProxy) {
		p.add("legacy", Stayed, users{good: 998, failed: 2}) // twice the budget
		p.add("cloud", Stayed, users{good: 1000})
		p.add("cloud", Moved, users{good: 1000})
	})
	want(t, v, Unhealthy, "legacy", "burns its budget 2x")
}

func TestTooFewEventsAreUnknownWhereSomebodyIsExpectedAlone(t *testing.T) {
	t.Parallel()
	few := func(p *fakeProxy) {
		p.add("legacy", Stayed, users{good: 1000})
		p.add("cloud", Stayed, users{good: 50})
	}
	w := newWorld(t, 1, nil)
	want(t, w.steps(6*time.Minute, few), Unknown, "cloud, moved", "too few events: 0 of 100")
	want(t, w.steps(6*time.Minute, func(p *fakeProxy) { few(p); p.add("cloud", Moved, users{good: 1}) }), Unknown, "cloud, moved", "too few events: 8 of 100")
	w = newWorld(t, 1, nil)
	w.options.Expect = func(datacenter string, cohort Cohort) bool { return cohort != Moved }
	v := w.steps(6*time.Minute, few)
	want(t, v, Healthy)
	if last := v.Figures[len(v.Figures)-1]; !last.LeftOut || last.Level != Unknown {
		t.Errorf("%+v", last)
	}
	w = newWorld(t, 1, nil)
	w.options.Expect = nil
	want(t, w.steps(6*time.Minute, few), Unknown, "moved")
	want(t, w.steps(6*time.Minute, well), Healthy)
}

func TestEveryLieIsUnknownWithItsReasonAndHeals(t *testing.T) {
	t.Parallel()
	counter := func(value string) func(string) string {
		line := regexp.MustCompile(`(drover_proxy_responses_total\{datacenter="cloud",class="2xx"\}) \d+`)
		return func(page string) string { return line.ReplaceAllString(page, "$1 "+value) }
	}
	bucket := func(value string) func(string) string {
		line := regexp.MustCompile(`(drover_proxy_cohort_request_seconds_bucket\{datacenter="cloud",cohort="moved",le="0.25"\}) \d+`)
		return func(page string) string { return line.ReplaceAllString(page, "$1 "+value) }
	}
	without := func(words string) func(string) string {
		line := regexp.MustCompile(`(?m)^.*` + words + `.*\n`)
		return func(page string) string { return line.ReplaceAllString(page, "") }
	}
	type answer = func(http.ResponseWriter, *http.Request) bool
	for _, c := range []struct {
		name   string
		spoil  func(string) string
		answer answer
		say    string
	}{
		{"NaN", counter("NaN"), nil, "no count"},
		{"infinity", counter("+Inf"), nil, "no count"},
		{"negative", counter("-5"), nil, "no count"},
		{"went back", counter("3"), nil, "went back"},
		{"bucket is NaN", bucket("NaN"), nil, "no count"},
		{"bucket is infinite", bucket("+Inf"), nil, "no count"},
		{"bucket is above the next", bucket("99999999"), nil, "no histogram is like that"},
		{"bucket is missing", without(`le="0.25"`), nil, "no bucket of 250ms"},
		{"empty", func(string) string { return "" }, nil, "neither"},
		{"another page", func(string) string { return "# TYPE up gauge\nup 1\n" }, nil, "neither"},
		{"no metrics page", func(string) string { return "<html>hello</html>" }, nil, "not a metrics page"},
		{"cut off", func(p string) string { return p[:len(p)-len(p)/3] + "{" }, nil, "not a metrics page"},
		{"twice", func(p string) string {
			return p + `drover_proxy_cohort_responses_total{datacenter="cloud",cohort="moved",class="5xx"} 0` + "\n"
		}, nil, "twice"},
		{"a datacenter is gone", without(`datacenter="cloud"`), nil, "not any more"},
		{"no cohorts", without("cohort"), nil, "not any more"},
		{"old", func(p string) string {
			return strings.ReplaceAll(p, `class="2xx"} 0`, `class="2xx"} 0 1500000000000`)
		}, nil, "away from now"},
		{"404", nil, func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusNotFound); return true }, "404"},
		{"redirect", nil, func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/x", http.StatusFound)
			return true
		}, "302"},
		{"a cache", nil, func(w http.ResponseWriter, _ *http.Request) bool { w.Header().Set("Age", "3600"); return false }, "3600 s old"},
		{"hangs", nil, func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }, "no answer within"},
		{"100 MB", nil, func(w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.Copy(w, io.LimitReader(endless{}, 100<<20))
			return true
		}, "longer than"},
		{"breaks off", nil, func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2, func(config *Config) {
				config.Source.Timeout, config.Source.AnswerMax = 500*time.Millisecond, 1<<20
				config.Windows.Scale = 0.1
				if c.name == "old" { // where nothing else changes
					config.Objectives = config.Objectives[:1]
				}
			})
			want(t, w.steps(40*time.Second, well), Healthy)
			w.proxies[1].set(c.spoil, c.answer)
			if c.name == "old" {
				w.proxies[1].set(func(p string) string {
					return regexp.MustCompile(`(class="2xx"\} \d+)`).ReplaceAllString(p, "$1 1500000000000")
				}, nil)
			}
			v := w.step(well)
			want(t, v, Unknown, c.say)
			if len(v.Figures) != 0 && v.Figures[0].Level != Unknown {
				t.Errorf("%+v", v.Figures[0])
			}
			w.proxies[1].set(nil, nil)
			want(t, w.steps(40*time.Second, well), Healthy)
		})
	}
}

// endless is text that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, strings.Repeat("x", len(p))), nil }

func TestBurningIsNotSaidOfFiguresThatAreNotWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, nil)
	bad := func(p *fakeProxy) {
		p.add("legacy", Stayed, users{good: 1000})
		p.add("cloud", Stayed, users{failed: 50})
		p.add("cloud", Moved, users{failed: 20})
	}
	want(t, w.steps(6*time.Minute, bad), Burning)
	w.proxies[1].set(func(string) string { return "" }, nil)
	want(t, w.step(bad), Unknown, "1 of 2 proxies")
}

func TestAProxyThatNeverHadASeriesMakesItsGroupUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, nil)
	w.proxies[1].set(func(page string) string {
		return regexp.MustCompile(`(?m)^.*datacenter="cloud",cohort="moved".*\n`).ReplaceAllString(page, "")
	}, nil)
	want(t, w.steps(6*time.Minute, well), Unknown, "cloud, moved", "has no drover_proxy_cohort_")
}

func TestAProxyThatForgotWhoWasMovedIsUnknownAsLongAsItMatters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nil)
	want(t, w.steps(6*time.Minute, well), Healthy)
	knows := func(since int64) {
		w.proxies[0].set(func(page string) string {
			return page + fmt.Sprintf("%s %d\n%s 3600\n", cohortKnownFamily, since, cohortWindowFamily)
		}, nil)
	}
	since := w.now
	knows(since.Unix())
	want(t, w.step(well), Unknown, "knows who was moved since", "wait for 5m0s")
	want(t, w.steps(6*time.Minute, well), Healthy)
	w.source.(*proxies).moved = func(from, to time.Time) bool { return from.Before(since) && !to.Before(since.Add(-time.Minute)) }
	want(t, w.step(well), Unknown, "users were moved before", "wait for 1h0m0s")
	w.source.(*proxies).moved = func(from, to time.Time) bool { return to.After(since) }
	want(t, w.step(well), Healthy)
	knows(0)
	want(t, w.step(well), Unknown, "counts no cohorts")
}

func TestARestartLosesNoCountAndInventsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, nil)
	w.steps(6*time.Minute, well)
	w.proxies[0].restart()
	v := w.step(well)
	want(t, v, Healthy)
	events := func(v Verdict) float64 {
		for _, f := range v.Figures {
			if f.Objective == "availability" && f.Datacenter == "legacy" && f.Cohort == "" && f.Window == 5*time.Minute {
				return f.Events
			}
		}
		return -1
	}
	if n := events(v); n != 16_000 {
		t.Errorf("%v events in 5m: want 16,000", n)
	}
	// Nobody saw the end of the next one.
	w.now = w.now.Add(10 * time.Minute)
	w.proxies[0].restart()
	want(t, w.step(well), Unknown)
	want(t, w.steps(6*time.Minute, well), Healthy)
}

func TestALongPauseBetweenLooksIsUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nil)
	w.steps(6*time.Minute, well)
	w.now = w.now.Add(time.Hour)
	want(t, w.step(well), Unknown, "is to be looked at every 5s")
}

func TestAnOutageHoldsOnceAndUntilTheShortestWindowIsWhole(t *testing.T) {
	t.Parallel()
	const whole = 8 // steps of the shortest window
	for _, missed := range []int{1, 2, 4, 7, 8, 16, 40} {
		t.Run(fmt.Sprintf("%d looks", missed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2, nil)
			want(t, w.steps(time.Hour, well), Healthy)
			w.proxies[1].set(func(string) string { return "" }, nil)
			for range missed {
				want(t, w.step(well), Unknown, "1 of 2 proxies")
			}
			w.proxies[1].set(nil, nil)
			known := 0 // the look that knows again, counted from 1

			for look := range 2*whole + 4*missed { // four times as long: a quarter of a window may be missed
				v := w.step(well)
				if known == 0 && v.Level == Healthy {
					known = look + 1
				}
				if known == 0 {
					want(t, v, Unknown, "nothing was known of proxy ", "it is to be looked at every 5s")
				} else if v.Level != Healthy {
					t.Fatalf("held again %d looks after the first that knew: %s", look+1-known, v.Reason)
				}
				for _, f := range v.Figures {
					if f.Objective == "availability" && f.Datacenter == "legacy" && f.Cohort == "" && f.Window == w.Base() && known == look+1 &&
						(f.Events < whole*2000 || f.Events > (whole+2)*2000) {
						t.Errorf("%v events in %v at the first look that knows", f.Events, f.Window)
					}
				}
			}
			if first := map[bool]int{true: 1, false: whole + 1}[missed == 1]; known != first {
				t.Errorf("known again at look %d after the outage: want %d", known, first)
			}
		})
	}
}

func TestUnansweredRequestsAreIgnoredOrBadAsConfigured(t *testing.T) {
	t.Parallel()
	for unanswered, level := range map[string]Level{"": Healthy, unansweredBad: Burning} {
		w := newWorld(t, 1, func(c *Config) {
			c.Objectives = c.Objectives[:1]
			c.Objectives[0].Unanswered = unanswered
		})
		want(t, w.steps(6*time.Minute, func(p *fakeProxy) { well(p); p.add("legacy", Stayed, users{gone: 100}) }), Healthy)
		want(t, w.steps(6*time.Minute, func(p *fakeProxy) { well(p); p.add("legacy", Stayed, users{none: 100}) }), level)
	}
}

func TestAnAnswerOfTheSizeThatIsAllowedIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, func(c *Config) { c.Source.AnswerMax = 64 * config.KiB })
	w.proxies[0].set(func(page string) string {
		return page + "#" + strings.Repeat("x", 64<<10-len(page)-2) + "\n"
	}, nil)
	want(t, w.steps(6*time.Minute, well), Healthy)
}

func TestADatacenterThatTheMapDoesNotHaveIsNoObjection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, nil)
	for _, c := range []Cohort{All, Moved, Stayed} {
		w.proxies[0].groups[group{"mars", c}] = users{}
	}
	want(t, w.steps(6*time.Minute, well), Healthy)
	want(t, w.steps(6*time.Minute, func(p *fakeProxy) { well(p); p.add("mars", Stayed, users{failed: 100}) }), Burning, "mars")
}

func TestATokenIsSentAndNeverShown(t *testing.T) {
	t.Parallel()
	path := write(t, "s3cret\nmore\n")
	w := newWorld(t, 1, func(c *Config) { c.Source.TokenFile = path })
	defer w.Close()
	w.proxies[0].set(nil, func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			rw.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	})
	v := w.steps(6*time.Minute, well)
	want(t, v, Healthy)
	w.proxies[0].Close()
	if v := w.step(well); v.Level != Unknown || strings.Contains(v.Reason, "s3cret") {
		t.Error(v.Reason)
	}
	c := Default()
	c.Source.Kind, c.Source.URLs, c.Source.TokenFile = KindProxies, []string{"http://a"}, path+"x"
	c.Objectives = []Objective{availability()}
	if _, err := New(c, Options{}); err == nil || !strings.Contains(err.Error(), "source.token_file") {
		t.Error(err)
	}
}
