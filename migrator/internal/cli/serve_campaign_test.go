package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/migrator/internal/campaign"
	"drover/migrator/internal/slo"
)

// visitor is somebody at the console.
type visitor struct {
	t      *testing.T
	url    string
	client *http.Client
	csrf   string
}

// visits logs in by the page's form.
func (d *desktop) visits(console, token, name string) *visitor {
	d.t.Helper()
	jar, err := cookiejar.New(nil)
	must(d.t, err)
	transport := &http.Transport{}
	d.t.Cleanup(transport.CloseIdleConnections)
	v := &visitor{t: d.t, url: console, client: &http.Client{Jar: jar, Transport: transport}}
	answer, err := v.client.PostForm(console+"login", url.Values{"token": {token}, "name": {name}})
	must(d.t, err)
	must(d.t, answer.Body.Close())
	v.csrf = v.me().Csrf
	return v
}

type meNow struct {
	Name, Csrf      string
	Topics, Actions []string
}

func (v *visitor) me() (me meNow) {
	v.t.Helper()
	answer, err := v.client.Get(v.url + "api/me")
	must(v.t, err)
	defer answer.Body.Close()
	must(v.t, json.NewDecoder(answer.Body).Decode(&me))
	return me
}

// press presses a button, and returns what came of it.
func (v *visitor) press(action, typed, why, arguments string) (int, string) {
	v.t.Helper()
	body := map[string]any{"typed": typed, "why": why}
	if arguments != "" {
		body["arguments"] = json.RawMessage(arguments)
	}
	text, err := json.Marshal(body)
	must(v.t, err)
	request, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.url+"api/actions/"+action, bytes.NewReader(text))
	must(v.t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Drover-Console-Csrf", v.csrf)
	answer, err := v.client.Do(request)
	must(v.t, err)
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	must(v.t, err)
	return answer.StatusCode, string(said)
}

// presses presses it, and wants it to come to this.
func (v *visitor) presses(action, typed, arguments string, code int, words string) {
	v.t.Helper()
	if got, said := v.press(action, typed, "", arguments); got != code || !strings.Contains(said, words) {
		v.t.Errorf("%s %q %s: %d %s, want %d with %q", action, typed, arguments, got, said, code, words)
	}
}

// ear hears the console's events.
type ear struct {
	t     *testing.T
	scan  *bufio.Scanner
	wrong string // with the last event that was looked at
}

func (d *desktop) listens(console string) *ear {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	d.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, console+"events", nil)
	must(d.t, err)
	request.Header.Set("Authorization", "Bearer "+readerToken)
	answer, err := http.DefaultClient.Do(request)
	must(d.t, err)
	d.t.Cleanup(func() { answer.Body.Close() })
	scan := bufio.NewScanner(answer.Body)
	scan.Buffer(nil, 16<<20)
	return &ear{t: d.t, scan: scan}
}

// hears reads a topic's events until one is so.
func hears[T any](e *ear, topic, what string, is func(T) bool) (value T) {
	e.t.Helper()
	heard, last := "", ""
	for e.scan.Scan() {
		key, text, _ := strings.Cut(e.scan.Text(), ": ")
		if key == "event" {
			heard = text
		}
		if key != "data" || heard != topic {
			continue
		}
		last = text
		var said struct {
			Error string
			Value T
		}
		must(e.t, json.Unmarshal([]byte(text), &said))
		if e.wrong = said.Error; is(said.Value) {
			return said.Value
		}
	}
	e.t.Fatalf("%s: %v; the last event of %s was %s", what, e.scan.Err(), topic, last)
	return value
}

// applied begins a campaign of 64 buckets.
func (d *desktop) applied() {
	d.t.Helper()
	must(d.t, os.RemoveAll(d.path("plan.yaml")))
	d.want(0, []string{"campaign", "plan", "--to", "cloud", "--rate", "1000", "--rate-max", "100000", "--out", d.path("plan.yaml")})
	d.want(0, []string{"campaign", "apply", d.path("plan.yaml")})
}

// isRefused presses what an operator may not, of a campaign that is held and has
// moved nobody.
func (v *visitor) isRefused() {
	v.t.Helper()
	for _, c := range []struct{ action, typed, arguments, words string }{
		{"pause", "Pause", "", `type \"pause\"`},
		{"resume", "resume", "", "neither paused nor stopped"},
		{"rate", "2000000", `{"rate": 2000000}`, "the plan allows"},
		{"rate", "5000", `{"rate": 50000}`, `type \"50000\"`},
		{"return", "return", `{"all": true}`, `type \"return all\"`},
		{"return", "return", `{"target": "mars"}`, "no wave and no step"},
		{"return", "return all", `{"all": true}`, "nobody has moved"},
		{"skip", "skip", `{"target": "mars"}`, "no wave and no step"},
	} {
		v.presses("campaign-"+c.action, c.typed, c.arguments, http.StatusConflict, c.words)
	}
	for _, c := range []struct{ action, arguments, words string }{
		{"rate", "", "name the rate"}, {"rate", `{}`, "name the rate"}, {"rate", `{"rate": -1}`, "cannot be read"}, {"rate", `{"rate": 1.5}`, "cannot be read"},
		{"rate", `{"rate": "5000"}`, "cannot be read"}, {"rate", `{"rate": 1e30}`, "cannot be read"}, {"pause", `{"rate": 1}`, "does not take"}, {"pause", `{"all": true}`, "does not take"},
		{"skip", `{"mode": "stepwise"}`, "does not take"}, {"abort", `{"target": "singles"}`, "does not take"}, {"return", `{"mode": "slowly"}`, "stepwise"},
		{"return", `{"all": true, "target": "singles"}`, "one of the two"}, {"resume", `{"force": true}`, "unknown field"}, {"resume", `[]`, "cannot be read"},
	} {
		v.presses("campaign-"+c.action, c.action, c.arguments, http.StatusBadRequest, c.words)
	}
}

var orderNames = []string{"campaign-abort", "campaign-pause", "campaign-rate", "campaign-resume", "campaign-return", "campaign-skip"}

func TestOrdersPressedOnTheConsoleAreObeyedAndJournaledWithWhoPressedThem(t *testing.T) {
	d := ready(t)
	page := d.serveConsole()
	ann, bob := d.visits(page, operatorToken, "ann"), d.visits(page, readerToken, "bob")
	for _, topic := range []string{"campaign", "slo", "tracers"} {
		if me := bob.me(); !slices.Contains(me.Topics, topic) || len(me.Actions) != 0 {
			t.Errorf("a reader has %+v", me)
		}
	}
	for _, name := range orderNames {
		if me := ann.me(); !slices.Contains(me.Actions, name) {
			t.Errorf("an operator has no %s", name)
		}
	}
	listens := d.listens(page)
	hears(listens, "campaign", "no campaign yet", func(s *campaign.Status) bool { return s == nil })
	ann.presses("campaign-pause", "pause", "", http.StatusConflict, "migrator campaign apply begins it")

	d.applied()
	hears(listens, "campaign", "the campaign that came", func(s *campaign.Status) bool { return s != nil && s.Phase == campaign.PhaseReady })
	ann.presses("campaign-pause", "pause", "", http.StatusOK, `"live":false,"obeyed":false`)
	ann.presses("campaign-resume", "resume", "", http.StatusOK, `"obeyed":false`)
	ended := d.campaign(d.judges(func() slo.Level { return slo.Unknown }))
	hears(listens, "campaign", "the hold", func(s *campaign.Status) bool {
		return s != nil && s.Live && s.Phase == campaign.PhaseHeld && strings.Contains(s.Reason, "as the test says")
	})
	lines := len(d.campaignStatus().Journal)
	bob.presses("campaign-pause", "pause", "", http.StatusForbidden, "readers")
	stranger := *ann
	stranger.csrf = "another word"
	stranger.presses("campaign-pause", "pause", "", http.StatusForbidden, "does not come from the console")
	ann.isRefused()
	if now := d.campaignStatus().Journal; len(now) != lines {
		t.Errorf("what was refused is in the journal: %+v", now[lines:])
	}

	// By the clock on the wall: an order is obeyed, and shown, within a second.
	began := time.Now()
	code, said := ann.press("campaign-pause", "pause", "a look at the graphs", "")
	var receipt struct {
		Live, Obeyed bool
		After        time.Duration
	}
	must(t, json.Unmarshal([]byte(said), &receipt))
	if code != http.StatusOK || !receipt.Live || !receipt.Obeyed {
		t.Fatalf("%d %s", code, said)
	}
	shown := hears(listens, "campaign", "the pause", func(s *campaign.Status) bool { return s.Phase == campaign.PhasePaused })
	t.Logf("obeyed after %s, shown after %s", receipt.After, time.Since(began))
	if want := "paused by ann on the console of server: a look at the graphs"; shown.Reason != want {
		t.Errorf("the reason is %q, want %q", shown.Reason, want)
	}
	ann.presses("campaign-rate", "5000", `{"rate": 5000}`, http.StatusOK, `"obeyed":true`)
	ann.presses("campaign-skip", "skip", `{"target": "singles/1"}`, http.StatusOK, `"steps":1`)
	ann.presses("campaign-resume", "resume", "null", http.StatusOK, `"obeyed":true`)
	ann.presses("campaign-abort", "abort", "{}", http.StatusOK, `"obeyed":true`)
	if r := <-ended; r.code != exitAborted {
		t.Errorf("%d %s%s", r.code, r.out, r.err)
	}
	hears(listens, "campaign", "the end, with nobody at it", func(s *campaign.Status) bool { return s.Phase == campaign.PhaseAborted && !s.Live })
	ann.presses("campaign-resume", "resume", "", http.StatusConflict, "it is over")
	var orders []string
	for _, e := range d.campaignStatus().Journal {
		if e.Kind == campaign.EntryCommand {
			orders = append(orders, fmt.Sprintf("%s by %s", e.Command, e.Who))
		}
	}
	const by = " by ann on the console of server"
	if want := []string{"pause" + by, "resume" + by, "pause" + by, "rate" + by, "skip" + by, "resume" + by, "abort" + by}; !slices.Equal(orders, want) {
		t.Errorf("the journal has %q, want %q", orders, want)
	}

	// The folder's next campaign takes the place of the one before.
	was := d.campaignStatus().Campaign
	d.applied()
	hears(listens, "campaign", "the next campaign", func(s *campaign.Status) bool { return s != nil && s.Campaign != was && s.Phase == campaign.PhaseReady })
}

func TestAJournalThatDoesNotAddUpIsShownAsSuchAndTakesNoOrders(t *testing.T) {
	d := ready(t)
	d.applied()
	page := d.serveConsole("--campaign", d.path("campaign"))
	listens := d.listens(page)
	here := hears(listens, "campaign", "the campaign", func(s *campaign.Status) bool { return s != nil })
	path := filepath.Join(d.path("campaign"), here.Campaign, "journal.jsonl")
	good, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, append(slices.Clone(good), "nonsense\n"...), 0o600))
	old := hears(listens, "campaign", "what is wrong", func(*campaign.Status) bool { return strings.Contains(listens.wrong, "does not add up") })
	if old == nil || old.Campaign != here.Campaign {
		t.Errorf("beside it is %+v", old)
	}
	d.visits(page, operatorToken, "ann").presses("campaign-pause", "pause", "", http.StatusBadGateway, "does not add up")
	must(t, os.WriteFile(path, good, 0o600))
	hears(listens, "campaign", "all is well again", func(s *campaign.Status) bool { return listens.wrong == "" && s.Phase == campaign.PhaseReady })
}

func TestALongStatusIsShownWithItsBeginningItsEndAndWhatIsToBeSaidOfIt(t *testing.T) {
	t.Parallel()
	status := campaign.Status{Journal: []campaign.Entry{{Figures: make([]slo.Figure, 64), Steps: make([]campaign.StepID, 5000)}}}
	for w := range 50 {
		wave := campaign.WaveNow{Name: fmt.Sprint(w)}
		for i := range 1000 {
			step := campaign.StepNow{Step: campaign.StepID(fmt.Sprintf("%d/%d", w, i)), State: campaign.Waiting, What: strings.Repeat("x", 200)}
			if i == 500 {
				step.State, step.Error = campaign.Failed, strings.Repeat("é", 100_000)
			}
			wave.Steps = append(wave.Steps, step)
		}
		status.Waves = append(status.Waves, wave)
	}
	text, err := json.Marshal(shownCampaign(status))
	must(t, err)
	var shown consoleCampaign
	must(t, json.Unmarshal(text, &shown))
	if len(text) > 3<<20 || len(shown.Waves) != 50 || len(shown.Journal) != 1 || len(shown.Journal[0].Steps) != campaignNamesMax {
		t.Fatalf("%d bytes, %d waves, journal %d", len(text), len(shown.Waves), len(shown.Journal))
	}
	w := shown.Waves[49]
	has := func(id campaign.StepID) bool {
		return slices.ContainsFunc(w.Steps, func(s campaign.StepNow) bool { return s.Step == id })
	}
	if !has("49/0") || !has("49/500") || !has("49/999") || w.More != 1000-len(w.Steps) || w.States[campaign.Waiting] != 999 || w.States[campaign.Failed] != 1 {
		t.Errorf("%d steps, %d more, %v", len(w.Steps), w.More, w.States)
	}
	// A short one is as it was; one of 1,000 waves fits too.
	few := shownSteps(status.Waves[0].Steps[:5], waveStepsMax)
	if len(few) != 5 || few[3].Step != "0/3" || len(shownSteps(nil, waveStepsMax)) != 0 {
		t.Errorf("%v", few)
	}
}
