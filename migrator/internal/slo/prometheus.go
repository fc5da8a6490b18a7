package slo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
)

// queriesMax is how many queries are asked at once: Prometheus runs 20 by default.
const queriesMax = 4

// prometheus asks a Prometheus server.
type prometheus struct {
	config      *Config
	api         promv1.API
	datacenters []string
	moved       func(from, to time.Time) bool
	cohort      time.Duration // see cohortWindow; looks come one after another
}

func (p *prometheus) cohortWindow() time.Duration { return p.cohort }

// old is empty: looks may be more frequent than scrapes, whose age is looked at.
func (p *prometheus) old() string { return "" }

func newPrometheus(c *Config, client *http.Client, options *Options) (*prometheus, error) {
	client.Transport = &bounded{client.Transport, int64(c.Source.AnswerMax)}
	made, err := api.NewClient(api.Config{Address: c.Source.URL, Client: client})
	if err != nil {
		return nil, fmt.Errorf("source.url: %w", err)
	}
	return &prometheus{config: c, api: promv1.NewAPI(made), datacenters: options.Datacenters, moved: options.Moved}, nil
}

// row is one series of an answer.
type row struct {
	labels model.Metric
	value  float64
}

// query asks one instant query. A warning is an error: the answer is partial.
func (p *prometheus) query(ctx context.Context, at time.Time, text string) ([]row, error) {
	value, warnings, _, err := p.api.Query(ctx, text, at, promv1.WithTimeout(p.config.Source.Timeout))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("prometheus: %w: see whether it runs at source.url, and takes the query %s", err, text)
	}
	if len(warnings) != 0 {
		return nil, fmt.Errorf("prometheus warns that its answer is not whole: %s (query %s)", listed(warnings), text)
	}
	vector, ok := value.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("prometheus answered the query %s by %s: want a vector", text, value.Type())
	}
	rows := make([]row, 0, len(vector))
	for _, s := range vector {
		rows = append(rows, row{s.Metric, float64(s.Value)})
	}
	return rows, nil
}

// selected writes a selector of the proxies' series.
func (p *prometheus) selected(family string, more ...string) string {
	return p.config.selected(family, more...)
}

func (c *Config) selected(family string, more ...string) string {
	matchers := append([]string{strings.Trim(strings.TrimSpace(c.Source.Selector), ",")}, more...)
	return family + "{" + strings.Join(matchers, ",") + "}"
}

// read asks for the proxies first, and then for every window at once.
func (p *prometheus) read(ctx context.Context, at time.Time) (reading, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.config.Source.Timeout,
		fmt.Errorf("no answer within %v (source.timeout)", p.config.Source.Timeout))
	defer cancel()
	instances, err := p.instances(ctx, at)
	if err != nil {
		return nil, err
	}
	blind, err := p.blind(ctx, at)
	if err != nil {
		return nil, err
	}
	windows := p.config.Windows.all()
	found := make([]map[string]map[key]counts, len(windows)) // by window: instance, key
	lies := make([]error, len(windows))
	var group errgroup.Group
	group.SetLimit(queriesMax)
	for i, w := range windows {
		group.Go(func() error {
			var err error
			found[i], lies[i], err = p.window(ctx, at, w)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := errors.Join(lies...); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, d := range p.datacenters {
		names[d] = true
	}
	for _, all := range found {
		for _, of := range all {
			for k := range of {
				names[k.datacenter] = true
			}
		}
	}
	r := reading{}
	for _, k := range p.config.wanted(slices.Sorted(maps.Keys(names))) {
		for i, w := range windows {
			r.set(k, w, p.tally(k, w, instances, found[i], blind))
		}
	}
	return r, nil
}

// tally adds one key up over the proxies.
func (p *prometheus) tally(k key, w time.Duration, instances []string, found map[string]map[key]counts, blind string) tally {
	if k.cohort != All && blind != "" {
		return tally{why: blind}
	}
	var t tally
	for _, instance := range instances {
		c, ok := found[instance][k]
		if !ok {
			return tally{why: p.config.missing("proxy "+instance+", as Prometheus has it over "+windowName(w)+",", k)}
		}
		t.counts = t.plus(c)
	}
	return t
}

// byInstance asks for one number of each proxy.
func (p *prometheus) byInstance(ctx context.Context, at time.Time, text string) (map[string]float64, error) {
	rows, err := p.query(ctx, at, text)
	of := make(map[string]float64, len(rows))
	for _, r := range rows {
		of[string(r.labels["instance"])] = r.value
	}
	return of, err
}

// instances returns the proxies: all must be up, just scraped, and have been
// there for the shortest window, with a gap of a gapShare of it at most; none that
// was there may be missing.
func (p *prometheus) instances(ctx context.Context, at time.Time) ([]string, error) {
	span := p.config.Windows.base()
	base, reach, all := windowName(span), windowName((span + span/gapShare).Round(time.Millisecond)), p.selected("up")
	up, err := p.byInstance(ctx, at, "min by (instance) ("+all+")")
	if err != nil {
		return nil, err
	}
	if len(up) == 0 {
		return nil, fmt.Errorf("prometheus has no target %s: see source.selector, and Prometheus' scrape configuration", all)
	}
	family := p.config.anyFamily()
	fresh, err := p.byInstance(ctx, at, "min by (instance) (timestamp("+p.selected(family)+"))")
	if err != nil {
		return nil, err
	}
	// A target is there though it cannot be scraped: how much it told is asked apart,
	// so that a short gap is not met again at the window's other end.
	before, err := p.byInstance(ctx, at, "count by (instance) ("+all+" offset "+base+")")
	if err != nil {
		return nil, err
	}
	counted := func(series string) string {
		return "max by (instance) (count_over_time(" + series + "[" + reach + "]))"
	}
	told, err := p.byInstance(ctx, at, counted(p.selected(family))+" / on (instance) "+counted(all))
	if err != nil {
		return nil, err
	}
	same, err := p.unchanged(ctx, at)
	if err != nil {
		return nil, err
	}
	state := map[string]string{}
	for name, is := range up {
		scraped, seen := fresh[name]
		_, watched := before[name]
		age := at.Sub(time.UnixMilli(int64(scraped * 1000)))
		switch {
		case is != 1:
			state[name] = "cannot be scraped: see Prometheus' page of targets"
		case !seen:
			state[name] = fmt.Sprintf("has no %s now: is it a proxy?", family)
		case age > p.config.maxAge():
			state[name] = fmt.Sprintf("was scraped %v ago: see why its figures are old, and both clocks", age.Round(time.Second))
		case same[name]:
			state[name] = fmt.Sprintf("has told the same %s for %s: see what answers in its place", aliveFamily, windowName(p.aliveSpan()))
		case !watched:
			state[name] = "is watched for less than " + base + ": wait"
		case !(told[name] >= float64(gapShare)/(gapShare+1)):
			state[name] = fmt.Sprintf("had figures in %.0f %% of the last %s only: wait", 100*told[name], reach)
		}
	}
	for name := range before {
		if _, there := up[name]; !there {
			state[name] = "was there " + base + " ago and is no target any more: wait until it is forgotten, or bring it back"
		}
	}
	if len(state) != 0 {
		var words []string
		for _, name := range slices.Sorted(maps.Keys(state)) {
			words = append(words, "proxy "+name+" "+state[name])
		}
		return nil, fmt.Errorf("%d proxies cannot be judged: %s", len(state), listed(words))
	}
	return slices.Sorted(maps.Keys(up)), nil
}

// aliveFamily is what a program tells of itself, and never twice the same: to be
// scraped takes memory. A page that has it and stays is a copy of one.
const aliveFamily = "go_memstats_alloc_bytes_total"

// aliveSpan is for how long a page may stay: there are two samples in it at least.
func (p *prometheus) aliveSpan() time.Duration { return 2 * p.config.maxAge() }

// unchanged are the proxies whose pages stay. Of one without aliveFamily nothing is
// known.
func (p *prometheus) unchanged(ctx context.Context, at time.Time) (map[string]bool, error) {
	series := p.selected(aliveFamily) + "[" + windowName(p.aliveSpan()) + "]"
	changes, err := p.byInstance(ctx, at, "max by (instance) (changes("+series+") and on (instance) (count_over_time("+series+") > 1))")
	same := map[string]bool{}
	for name, n := range changes {
		same[name] = n == 0
	}
	return same, err
}

// anyFamily is a metric that every proxy must have.
func (c *Config) anyFamily() string {
	for i := range c.Objectives {
		if c.Objectives[i].Kind == Availability {
			return responsesFamily
		}
	}
	return secondsFamily + "_count"
}

// blind says why some proxy's cohorts are not to be believed; empty when all are.
func (p *prometheus) blind(ctx context.Context, at time.Time) (string, error) {
	since, err := p.byInstance(ctx, at, "max by (instance) ("+p.selected(cohortKnownFamily)+")")
	if err != nil {
		return "", err
	}
	windows, err := p.byInstance(ctx, at, "max by (instance) ("+p.selected(cohortWindowFamily)+")")
	if err != nil {
		return "", err
	}
	p.cohort = 0
	for _, seconds := range windows {
		if seconds > 0 && seconds <= cohortWindowMax.Seconds() {
			p.cohort = max(p.cohort, time.Duration(seconds*float64(time.Second)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(since)) {
		if sum := since[name] + windows[name]; math.IsNaN(sum) || math.IsInf(sum, 0) {
			return fmt.Sprintf("proxy %s says %v of %s: see what its page says", name, since[name], cohortKnownFamily), nil
		}
		if why := memoryOf(since[name], windows[name]).blind("proxy "+name, at, p.config.Windows.base(), p.moved); why != "" {
			return why, nil
		}
	}
	return "", nil
}

// window asks for every increase over one window. The second result says that a
// number is none; the last one that nothing is known.
func (p *prometheus) window(ctx context.Context, at time.Time, w time.Duration) (map[string]map[key]counts, error, error) {
	found := map[string]map[key]counts{}
	var lie error
	for i := range p.config.Objectives {
		o := &p.config.Objectives[i]
		for _, cohorts := range []bool{false, true} {
			text, ok := p.config.increase(o, cohorts, windowName(w))
			if !ok {
				continue
			}
			rows, err := p.query(ctx, at, text)
			if err != nil {
				return nil, nil, err
			}
			if err := p.count(found, i, cohorts, rows); err != nil && lie == nil {
				lie = fmt.Errorf("%w (query %s)", err, text)
			}
		}
	}
	return found, lie, nil
}

// increase is the query of an objective's counts in a window, by proxy.
func (c *Config) increase(o *Objective, cohorts bool, window string) (string, bool) {
	wants := slices.ContainsFunc(o.cohorts(), func(of Cohort) bool { return (of != All) == cohorts })
	if !wants {
		return "", false
	}
	by, family := "instance, datacenter", map[ObjectiveKind]string{Availability: responsesFamily, Latency: secondsFamily + "_bucket"}[o.Kind]
	if cohorts {
		by, family = by+", cohort", map[ObjectiveKind]string{Availability: cohortResponsesFamily, Latency: cohortSecondsFamily + "_bucket"}[o.Kind]
	}
	matchers := []string{`datacenter!="` + unrouted + `"`}
	if o.Kind == Latency {
		by += ", le"
		matchers = append(matchers, `le=~"`+leOf(o.Threshold)+`|\\+Inf"`)
	} else {
		by += ", class"
	}
	return fmt.Sprintf("sum by (%s) (increase(%s[%s]))", by, c.selected(family, matchers...), window), true
}

// leOf is a bound as a regular expression in a string of PromQL: 1 is written 1.0
// by newer servers.
func leOf(d time.Duration) string {
	text := fmt.Sprintf("%g", d.Seconds())
	if !strings.Contains(text, ".") {
		return text + `|` + text + `\\.0`
	}
	return strings.ReplaceAll(text, ".", `\\.`)
}

// count adds the rows of one query to what was found.
func (p *prometheus) count(found map[string]map[key]counts, objective int, cohorts bool, rows []row) error {
	o := &p.config.Objectives[objective]
	within := map[string]map[key]bool{}
	for _, r := range rows {
		if math.IsNaN(r.value) || math.IsInf(r.value, 0) || r.value < 0 {
			return fmt.Errorf("prometheus says that %s grew by %v, which no counter does: see what the proxy's page says", r.labels, r.value)
		}
		g := group{string(r.labels["datacenter"]), All}
		if cohorts {
			g.cohort = Cohort(r.labels["cohort"])
		}
		k, of := p.config.keyOf(objective, g)
		if !of || g.datacenter == "" {
			continue
		}
		instance := string(r.labels["instance"])
		if found[instance] == nil {
			found[instance] = map[key]counts{}
		}
		if within[instance] == nil {
			within[instance] = map[key]bool{}
		}
		c := counts{}
		switch {
		case o.Kind == Availability:
			of, known := o.class(string(r.labels["class"]), r.value)
			if c = of; !known {
				return fmt.Errorf("class of %s is none of 1xx to 5xx, none and client_gone: use the newer migrator", r.labels)
			}
		case r.labels["le"] == "+Inf":
			c = counts{events: r.value, bad: r.value}
		default:
			c.bad = -r.value
			within[instance][k] = true
		}
		found[instance][k] = found[instance][k].plus(c)
	}
	if o.Kind != Latency {
		return nil
	}
	for instance, of := range found {
		for k, c := range of {
			if k.objective != objective || (k.cohort != All) != cohorts {
				continue
			}
			if !within[instance][k] {
				return fmt.Errorf("proxy %s has no bucket of %v, the objective's threshold, for %s: use a bound that the proxy has", instance, o.Threshold, k.group)
			}
			c.bad = max(0, c.bad) // each bucket is extrapolated by itself
			of[k] = c
		}
	}
	return nil
}
