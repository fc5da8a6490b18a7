package slo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// page is what a proxy's metrics page said.
type page struct {
	start  float64 // when the process began, in Unix seconds; 0: not told
	memory memory
	counts map[key]counts
}

// fetch reads a page, whatever it is, of at most answerMax bytes.
func fetch(ctx context.Context, client *http.Client, url string, answerMax int64, maxAge time.Duration) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", answer.Status)
	}
	// A cache between here and the proxy says how old its copy is (RFC 9111, 5.1).
	if age, err := strconv.Atoi(answer.Header.Get("Age")); err == nil && float64(age) > maxAge.Seconds() {
		return nil, fmt.Errorf("the page is %d s old by its header Age: ask the proxy itself, not a cache", age)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerMax+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > answerMax {
		return nil, fmt.Errorf("the page is longer than %d bytes (source.answer_max): is it a proxy's?", answerMax)
	}
	return body, nil
}

// reader takes a page apart.
type reader struct {
	config   *Config
	at       time.Time
	families map[string]*dto.MetricFamily
	page     *page
}

// parse reads the text of a page. A page of which one wanted number is not to be
// believed is an error as a whole: who lies once is not asked again.
func (c *Config) parse(text []byte, at time.Time) (*page, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("not a metrics page: %w", err)
	}
	r := reader{c, at, families, &page{counts: map[key]counts{}}}
	if len(families[responsesFamily].GetMetric()) == 0 && len(families[secondsFamily].GetMetric()) == 0 {
		return nil, fmt.Errorf("the page has neither %s nor %s: is it a proxy's /metrics?", responsesFamily, secondsFamily)
	}
	for i := range c.Objectives {
		switch o := &c.Objectives[i]; o.Kind {
		case Availability:
			err = errors.Join(r.responses(i, responsesFamily), r.responses(i, cohortResponsesFamily))
		case Latency:
			err = errors.Join(r.seconds(i, secondsFamily), r.seconds(i, cohortSecondsFamily))
		}
		if err != nil {
			return nil, err
		}
	}
	since, told, err1 := r.gauge(cohortKnownFamily)
	window, _, err2 := r.gauge(cohortWindowFamily)
	if told {
		r.page.memory = memoryOf(since, window)
	}
	var err3 error
	r.page.start, _, err3 = r.gauge(startFamily)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	return r.page, nil
}

// gauge reads a metric without labels; false if it is not there.
func (r *reader) gauge(name string) (float64, bool, error) {
	all := r.families[name].GetMetric()
	if len(all) == 0 {
		return 0, false, nil
	}
	v := all[0].GetGauge().GetValue() + all[0].GetUntyped().GetValue()
	return v, true, r.believe(name, all[0], v)
}

// believe refuses a number that no counter has, and one of another time.
func (r *reader) believe(name string, m *dto.Metric, v float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return fmt.Errorf("%s%s is %v, which is no count: see whether the page is a proxy's own", name, labelText(m), v)
	}
	if m.TimestampMs == nil {
		return nil
	}
	if off := r.at.Sub(time.UnixMilli(m.GetTimestampMs())); off.Abs() > r.config.maxAge() {
		return fmt.Errorf("%s%s is of %s, %v away from now: see what stands between here and the proxy, and both clocks",
			name, labelText(m), time.UnixMilli(m.GetTimestampMs()).UTC().Format(time.RFC3339), off.Round(time.Second))
	}
	return nil
}

func labelText(m *dto.Metric) string {
	text := ""
	for _, l := range m.GetLabel() {
		text += fmt.Sprintf(",%s=%q", l.GetName(), l.GetValue())
	}
	if text == "" {
		return ""
	}
	return "{" + text[1:] + "}"
}

// groupOf finds whose metric it is; false for what is not looked at.
func (r *reader) groupOf(m *dto.Metric, cohorts bool) (group, map[string]string, bool) {
	labels := map[string]string{}
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	g := group{labels["datacenter"], All}
	if cohorts {
		g.cohort = Cohort(labels["cohort"])
	}
	known := g.cohort == All || g.cohort == Moved || g.cohort == Stayed
	return g, labels, known && g.datacenter != "" && g.datacenter != unrouted
}

// keyOf returns the key of a group, and whether the objective is of it.
func (c *Config) keyOf(objective int, g group) (key, bool) {
	o := &c.Objectives[objective]
	for _, cohort := range o.cohorts() {
		if cohort == g.cohort && o.of(g.datacenter) {
			return key{objective, g}, true
		}
	}
	return key{}, false
}

// class says what an answer's class counts as, for an objective of availability.
func (o *Objective) class(class string, n float64) (counts, bool) {
	switch class {
	case "1xx", "2xx", "3xx", "4xx":
		return counts{events: n}, true
	case "5xx":
		return counts{events: n, bad: n}, true
	case "none":
		if o.Unanswered == unansweredBad {
			return counts{events: n, bad: n}, true
		}
		return counts{}, true
	case "client_gone":
		return counts{}, true
	default:
		return counts{}, false
	}
}

// responses counts answers by class.
func (r *reader) responses(objective int, family string) error {
	o := &r.config.Objectives[objective]
	seen := map[string]bool{}
	for _, m := range r.families[family].GetMetric() {
		g, labels, ok := r.groupOf(m, family == cohortResponsesFamily)
		k, of := r.config.keyOf(objective, g)
		if !ok || !of {
			continue
		}
		n := m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		if err := r.believe(family, m, n); err != nil {
			return err
		}
		if m.Counter == nil && m.Untyped == nil {
			return fmt.Errorf("%s%s is no counter", family, labelText(m))
		}
		c, known := o.class(labels["class"], n)
		if !known {
			return fmt.Errorf("%s%s: class is none of 1xx to 5xx, none and client_gone: use the newer migrator", family, labelText(m))
		}
		once := g.String() + "\x00" + labels["class"]
		if seen[once] {
			return fmt.Errorf("%s%s is on the page twice", family, labelText(m))
		}
		seen[once] = true
		r.page.counts[k] = r.page.counts[k].plus(c)
	}
	return nil
}

// seconds counts requests that took longer than the objective's threshold.
func (r *reader) seconds(objective int, family string) error {
	for _, m := range r.families[family].GetMetric() {
		g, _, ok := r.groupOf(m, family == cohortSecondsFamily)
		k, of := r.config.keyOf(objective, g)
		if !ok || !of {
			continue
		}
		if _, twice := r.page.counts[k]; twice {
			return fmt.Errorf("%s%s is on the page twice", family, labelText(m))
		}
		c, err := r.slow(family, m, r.config.Objectives[objective].Threshold)
		if err != nil {
			return err
		}
		r.page.counts[k] = c
	}
	return nil
}

// slow reads one histogram, whose buckets must be as histograms are.
func (r *reader) slow(family string, m *dto.Metric, threshold time.Duration) (counts, error) {
	h := m.GetHistogram()
	if h == nil {
		return counts{}, fmt.Errorf("%s%s is no histogram", family, labelText(m))
	}
	total := float64(h.GetSampleCount())
	if h.SampleCountFloat != nil {
		total = h.GetSampleCountFloat()
	}
	if err := r.believe(family, m, total); err != nil {
		return counts{}, err
	}
	within, below, last := -1.0, 0.0, math.Inf(-1)
	for _, b := range h.GetBucket() {
		n := float64(b.GetCumulativeCount())
		if b.CumulativeCountFloat != nil {
			n = b.GetCumulativeCountFloat()
		}
		if err := r.believe(family, m, n); err != nil {
			return counts{}, err
		}
		if b.GetUpperBound() <= last || n < below || n > total {
			return counts{}, fmt.Errorf("%s%s: its bucket of %v s has %v of %v requests, and the one before %v: no histogram is like that",
				family, labelText(m), b.GetUpperBound(), n, total, below)
		}
		last, below = b.GetUpperBound(), n
		if isBound(b.GetUpperBound(), threshold) {
			within = n
		}
	}
	if within < 0 {
		return counts{}, fmt.Errorf("%s%s has no bucket of %v, the objective's threshold: use a bound that the proxy has", family, labelText(m), threshold)
	}
	return counts{events: total, bad: total - within}, nil
}

// isBound compares in whole microseconds: a bound in seconds is a float.
func isBound(seconds float64, d time.Duration) bool {
	return math.Abs(seconds-d.Seconds()) < 1e-7
}
