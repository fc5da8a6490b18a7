package slo

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"drover/internal/config"
)

// Config is the section slo of the migrator's configuration.
type Config struct {
	Source Source `yaml:"source"`
	// Objectives are what is promised to users, such as {name: availability, kind:
	// availability, target: 0.999} and {name: latency, kind: latency, target: 0.99,
	// threshold: 250ms}; all their keys are in docs/slo.md.
	Objectives []Objective `yaml:"objectives"`
	Windows    Windows     `yaml:"windows"`
	// Interval is how often the source is looked at. 0: a tenth of the shortest
	// window, 5s at most.
	Interval time.Duration `yaml:"interval"`
	// Significance is how many standard errors those who were moved must fare
	// worse by than those who stayed, before the difference counts.
	Significance float64 `yaml:"significance"`
}

// Kind says where figures come from.
type Kind string

// The kinds of sources.
const (
	KindPrometheus Kind = "prometheus"
	KindProxies    Kind = "proxies"
)

// Source is where the figures come from.
type Source struct {
	// Kind is prometheus (a server that scrapes the proxies) or proxies (their own
	// metrics pages). Empty: there are no objectives.
	Kind Kind `yaml:"kind"`
	// URL is the Prometheus server's base address.
	URL string `yaml:"url"`
	// Selector are label matchers that choose the proxies' series in Prometheus.
	Selector string `yaml:"selector"`
	// URLs are the proxies' metrics pages, every proxy once.
	URLs []string `yaml:"urls"`
	// TokenFile is the path of a file whose first line is a bearer token.
	TokenFile string `yaml:"token_file"`
	// CAFile is the path of a PEM file with the authority of the source's
	// certificate. Empty: the system's.
	CAFile string `yaml:"ca_file"`
	// Timeout is how long one look may take.
	Timeout time.Duration `yaml:"timeout"`
	// MaxAge is how old a proxy's last sample may be.
	MaxAge time.Duration `yaml:"max_age"`
	// AnswerMax is how long a page, or an answer of Prometheus, may be.
	AnswerMax config.Bytes `yaml:"answer_max"`
}

// ObjectiveKind says what an objective promises.
type ObjectiveKind string

// The kinds of objectives.
const (
	Availability ObjectiveKind = "availability" // requests are answered, and not by 5xx
	Latency      ObjectiveKind = "latency"      // requests take no longer than a threshold
)

// Cohort is which users of a datacenter.
type Cohort string

// The cohorts.
const (
	All    Cohort = "all"    // every request that was sent to the datacenter
	Moved  Cohort = "moved"  // of users who were moved a short time ago
	Stayed Cohort = "stayed" // of the other users
)

// label is the cohort as Figure has it.
func (c Cohort) label() string {
	if c == All {
		return ""
	}
	return string(c)
}

// Objective is one promise.
type Objective struct {
	Name string        `yaml:"name"`
	Kind ObjectiveKind `yaml:"kind"`
	// Target is the share of requests that must be good, such as 0.999.
	Target float64 `yaml:"target"`
	// Threshold, of latency, is how long a good request takes at most: a bound of
	// the proxies' histogram.
	Threshold time.Duration `yaml:"threshold"`
	// MinEvents is how many requests a window must have to be judged by.
	MinEvents int `yaml:"min_events"`
	// Unanswered, of availability, says whether requests are bad whose client went
	// away while the application had them (class none): ignored or bad.
	Unanswered string `yaml:"unanswered"`
	// Datacenters are those that the objective is of. Empty: all.
	Datacenters []string `yaml:"datacenters"`
	// Cohorts are those that the objective is of: all, moved, stayed. Empty: the
	// three of them.
	Cohorts []Cohort `yaml:"cohorts"`
}

// Windows are the pairs of windows that burn rates are taken over.
type Windows struct {
	// Scale makes every window shorter, or longer: 0.01 is for demos.
	Scale float64 `yaml:"scale"`
	// Page are the pairs {burn, long, short} that make Burning.
	Page []Pair `yaml:"page"`
	// Ticket are the pairs that make Unhealthy.
	Ticket []Pair `yaml:"ticket"`
}

// Pair is a burn rate, and the two windows that must both be above it: the long
// one for significance, the short one so that it ends soon after the trouble.
type Pair struct {
	Burn  float64       `yaml:"burn"`
	Long  time.Duration `yaml:"long"`
	Short time.Duration `yaml:"short"`
}

const (
	day = 24 * time.Hour

	objectivesMax = 16  // × datacenters × 3 cohorts × 8 windows of figures
	pairsMax      = 8   // of each severity
	urlsMax       = 512 // pages: × 30 KB of samples each with two datacenters
	minEventsMax  = 1_000_000_000

	// DefaultMinEvents is what an objective's min_events is when it is not given.
	DefaultMinEvents = 100

	unansweredIgnored = "ignored"
	unansweredBad     = "bad"

	intervalMax = 5 * time.Second

	windowMin = 2 * time.Second // scaled: the source must be looked at several times in it
	windowMax = 60 * day
)

// Default returns the section with every default: no source, the windows of the
// Site Reliability Workbook, chapter 5, table 5-8, and its pair for a ticket over
// one day.
func Default() Config {
	return Config{
		Source: Source{Selector: `job="drover-proxy"`, Timeout: 5 * time.Second, MaxAge: 30 * time.Second, AnswerMax: 16 * config.MiB},
		Windows: Windows{Scale: 1,
			Page:   []Pair{{14.4, time.Hour, 5 * time.Minute}, {6, 6 * time.Hour, 30 * time.Minute}},
			Ticket: []Pair{{3, day, 2 * time.Hour}, {1, 3 * day, 6 * time.Hour}}},
		Significance: 4,
	}
}

// Bounds are the upper bounds of the proxies' histograms of whole requests.
func Bounds() []time.Duration {
	const ms = time.Millisecond
	return []time.Duration{ms, 2500 * time.Microsecond, 5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms, 500 * ms,
		time.Second, 2500 * ms, 5 * time.Second, 10 * time.Second, 30 * time.Second}
}

func boundsText() string {
	var words []string
	for _, b := range Bounds() {
		words = append(words, b.String())
	}
	return strings.Join(words, ", ")
}

var (
	objectiveName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	selectorWords = regexp.MustCompile(`^\s*[a-zA-Z_][a-zA-Z0-9_]*\s*(=|!=|=~|!~)\s*"(?:[^"\\\n]|\\.)*"\s*(?:,\s*[a-zA-Z_][a-zA-Z0-9_]*\s*(=|!=|=~|!~)\s*"(?:[^"\\\n]|\\.)*"\s*)*$`)
)

// Validate reports every problem at once; keys are below slo. A section with
// neither a source nor objectives is empty, and valid.
func (c *Config) Validate() error {
	var p config.Problems
	c.Check(&p, "slo.")
	return p.Err()
}

// Empty says that there is nothing to judge by.
func (c *Config) Empty() bool { return c.Source.Kind == "" && len(c.Objectives) == 0 }

// Check adds what is wrong to p, by keys that begin with prefix.
func (c *Config) Check(p *config.Problems, prefix string) {
	c.Windows.check(p, prefix+"windows.")
	p.Want(c.Significance >= 1 && c.Significance <= 100, prefix+"significance", c.Significance, "1 to 100 standard errors")
	p.Lasting(prefix+"interval", c.Interval, 0, max(0, c.Windows.base()/4))
	c.Source.check(p, prefix+"source.", c.interval())
	if c.Empty() {
		return
	}
	p.Want(c.Source.Kind != "", prefix+"source.kind", "", "prometheus or proxies: there are objectives")
	p.Between(prefix+"objectives", int64(len(c.Objectives)), 1, objectivesMax)
	seen := map[string]bool{}
	for i := range c.Objectives {
		o, key := &c.Objectives[i], fmt.Sprintf("%sobjectives[%d].", prefix, i)
		o.check(p, key)
		p.Want(!seen[o.Name], key+"name", o.Name, "a name that no other objective has")
		seen[o.Name] = true
	}
}

func (s *Source) check(p *config.Problems, key string, interval time.Duration) {
	switch s.Kind {
	case "":
	case KindPrometheus:
		wantURL(p, key+"url", s.URL)
		p.Want(selectorWords.MatchString(s.Selector), key+"selector", s.Selector, `label matchers, such as job="drover-proxy"`)
		p.Want(len(s.URLs) == 0, key+"urls", len(s.URLs), "none: the kind is prometheus")
	case KindProxies:
		p.Between(key+"urls", int64(len(s.URLs)), 1, urlsMax)
		seen := map[string]bool{}
		for i, u := range s.URLs {
			k := fmt.Sprintf("%surls[%d]", key, i)
			wantURL(p, k, u)
			p.Want(!seen[u], k, u, "every proxy once: one that is counted twice hides another")
			seen[u] = true
		}
		p.Want(s.URL == "", key+"url", s.URL, "nothing: the kind is proxies")
	default:
		p.Add(key+"kind", string(s.Kind), "prometheus or proxies")
	}
	p.Lasting(key+"timeout", s.Timeout, 10*time.Millisecond, 5*time.Minute)
	p.Lasting(key+"max_age", s.MaxAge, 10*time.Millisecond, time.Hour)
	p.Sized(key+"answer_max", s.AnswerMax, 64*config.KiB, config.GiB)
	if s.Kind == KindProxies && s.MaxAge < interval {
		p.Add(key+"max_age", s.MaxAge, fmt.Sprintf("the interval, %v, or more", interval))
	}
}

func wantURL(p *config.Problems, key, text string) {
	u, err := url.Parse(text)
	p.Want(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil, key, text,
		"an http or https URL, with no password in it (see token_file)")
}

func (o *Objective) check(p *config.Problems, key string) {
	p.Want(objectiveName.MatchString(o.Name), key+"name", o.Name, "a to z, 0 to 9 and _, a letter first, up to 63 of them")
	p.Want(o.Target > 0 && o.Target < 1 && 1-o.Target >= 1e-9, key+"target", o.Target, "a share above 0 and below 1, such as 0.999")
	p.Between(key+"min_events", int64(o.MinEvents), 1, minEventsMax)
	switch o.Kind {
	case Availability:
		p.Want(o.Threshold == 0, key+"threshold", o.Threshold, "nothing: the kind is availability")
		p.Want(o.Unanswered == unansweredIgnored || o.Unanswered == unansweredBad, key+"unanswered", o.Unanswered, "ignored or bad")
	case Latency:
		p.Want(slices.Contains(Bounds(), o.Threshold), key+"threshold", o.Threshold,
			"a bound of the proxies' histogram, since nothing between two is known: "+boundsText())
		p.Want(o.Unanswered == "", key+"unanswered", o.Unanswered, "nothing: the kind is latency")
	default:
		p.Add(key+"kind", string(o.Kind), "availability or latency")
	}
	seen := map[string]bool{}
	for i, d := range o.Datacenters {
		p.Want(d != "" && d != unrouted && !seen[d], fmt.Sprintf("%sdatacenters[%d]", key, i), d, "a datacenter, each once")
		seen[d] = true
	}
	cohorts := map[Cohort]bool{}
	for i, c := range o.Cohorts {
		known := c == All || c == Moved || c == Stayed
		p.Want(known && !cohorts[c], fmt.Sprintf("%scohorts[%d]", key, i), string(c), "all, moved or stayed, each once")
		cohorts[c] = true
	}
}

func (w *Windows) check(p *config.Problems, key string) {
	p.Want(w.Scale > 0 && w.Scale <= 100, key+"scale", w.Scale, "above 0, up to 100")
	if !(w.Scale > 0 && w.Scale <= 100) {
		return // no window is what it seems
	}
	p.Between(key+"page", int64(len(w.Page)), 1, pairsMax)
	p.Between(key+"ticket", int64(len(w.Ticket)), 0, pairsMax)
	pairs := map[string][]Pair{"page": w.Page, "ticket": w.Ticket}
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		for i, pair := range pairs[name] {
			k := fmt.Sprintf("%s%s[%d].", key, name, i)
			p.Want(pair.Burn > 0 && !math.IsInf(pair.Burn, 0), k+"burn", pair.Burn, "a burn rate above 0")
			p.Want(pair.Short < pair.Long, k+"short", pair.Short, fmt.Sprintf("less than long, %v", pair.Long))
			scaled := w.scaled(pair)
			p.Want(scaled.Short >= windowMin, k+"short", pair.Short, fmt.Sprintf("%v or more, times scale %v", windowMin, w.Scale))
			p.Want(scaled.Long <= windowMax, k+"long", pair.Long, fmt.Sprintf("%v or less, times scale %v", windowMax, w.Scale))
		}
	}
}

// scaled returns the pair's windows as they are used, in whole milliseconds:
// Prometheus knows no shorter unit.
func (w *Windows) scaled(p Pair) Pair {
	scale := func(d time.Duration) time.Duration {
		return time.Duration(math.Min(float64(d)*w.Scale, math.MaxInt64/2)).Round(time.Millisecond)
	}
	return Pair{p.Burn, scale(p.Long), scale(p.Short)}
}

// all returns every window, shortest first, each once.
func (w *Windows) all() []time.Duration {
	var all []time.Duration
	for _, pair := range slices.Concat(w.Page, w.Ticket) {
		s := w.scaled(pair)
		all = append(all, s.Short, s.Long)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// base is the shortest window of a page: the source must reach back so far.
func (w *Windows) base() time.Duration {
	base := windowMax
	for _, pair := range w.Page {
		base = min(base, w.scaled(pair).Short)
	}
	return base
}

// interval is how often the source is looked at.
func (c *Config) interval() time.Duration {
	if c.Interval > 0 {
		return c.Interval
	}
	return min(intervalMax, c.Windows.base()/10)
}

// maxAge is how old a sample may be: never as old as the shortest window, which
// would have nothing in it.
func (c *Config) maxAge() time.Duration { return min(c.Source.MaxAge, c.Windows.base()) }

// budget is the share of requests that may be bad.
func (o *Objective) budget() float64 { return 1 - o.Target }

// cohorts returns the cohorts that the objective is of.
func (o *Objective) cohorts() []Cohort {
	if len(o.Cohorts) == 0 {
		return []Cohort{All, Moved, Stayed}
	}
	return o.Cohorts
}

// of says whether the objective is of a datacenter.
func (o *Objective) of(datacenter string) bool {
	return len(o.Datacenters) == 0 || slices.Contains(o.Datacenters, datacenter)
}
