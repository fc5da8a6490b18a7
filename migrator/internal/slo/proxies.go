package slo

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const scrapesMax = 16 // pages read at once; × answer_max bytes of text

// proxies reads the proxies' own pages.
type proxies struct {
	config      *Config
	client      *http.Client
	datacenters []string
	moved       func(from, to time.Time) bool
	all         []*proxy
}

// proxy is what is known of one of them.
type proxy struct {
	name  string // its URL
	url   string
	last  *page // the last that was good
	at    time.Time
	err   error  // of the last look
	blind string // why its cohorts are not to be believed, by the last look
	// sum is of the page's text, and changed when it was another one.
	sum     [sha256.Size]byte
	changed time.Time
	same    time.Duration // from changed to the last look
	place   map[key]int
	// totals are counts since the first page, whole over the process's restarts.
	totals []counts
	rings  []*ring
}

func newProxies(c *Config, client *http.Client, options *Options) *proxies {
	p := &proxies{config: c, client: client, datacenters: options.Datacenters, moved: options.Moved}
	for _, u := range c.Source.URLs {
		name := u
		if parsed, err := url.Parse(u); err == nil {
			name = "proxy " + parsed.Host
		}
		p.all = append(p.all, &proxy{name: name, url: u, place: map[key]int{}})
	}
	return p
}

// read reads every page, all within the timeout, and adds them up. What one
// proxy does not tell makes every sum that it belongs to not whole.
func (p *proxies) read(ctx context.Context, at time.Time) (reading, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.config.Source.Timeout,
		fmt.Errorf("no answer within %v (source.timeout)", p.config.Source.Timeout))
	defer cancel()
	var group errgroup.Group
	group.SetLimit(scrapesMax)
	for _, one := range p.all {
		group.Go(func() error {
			one.look(ctx, p, at)
			return nil
		})
	}
	_ = group.Wait() // each keeps its own error
	var silent []string
	for _, one := range p.all {
		if one.err != nil {
			silent = append(silent, fmt.Sprintf("%s: %v", one.name, one.err))
		}
	}
	if len(silent) != 0 {
		return nil, fmt.Errorf("%d of %d proxies cannot be judged: %s", len(silent), len(p.all), listed(silent))
	}
	return p.sum(at), nil
}

// cohortWindow is of every proxy's last good page.
func (p *proxies) cohortWindow() time.Duration {
	longest := time.Duration(0)
	for _, o := range p.all {
		if o.last != nil {
			longest = max(longest, o.last.memory.window)
		}
	}
	return longest
}

// look reads one page.
func (o *proxy) look(ctx context.Context, p *proxies, at time.Time) {
	text, err := fetch(ctx, p.client, o.url, int64(p.config.Source.AnswerMax), p.config.maxAge())
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		o.err = fmt.Errorf("%w: see whether it runs, and serves its metrics there", err)
		return
	}
	now, err := p.config.parse(text, at)
	if err == nil {
		err = o.changes(text, at, p.config.maxAge())
	}
	if err == nil {
		err = o.take(p.config, now, at)
	}
	o.err = err
}

// changes refuses a page that has long been the same, byte for byte: a proxy's own
// tells of its memory and its processor's time, and never stays.
func (o *proxy) changes(text []byte, at time.Time, maxAge time.Duration) error {
	if sum := sha256.Sum256(text); sum != o.sum || o.changed.IsZero() {
		o.sum, o.changed, o.same = sum, at, 0
		return nil
	}
	if o.same = at.Sub(o.changed); o.same > maxAge {
		return fmt.Errorf("its page is the same, byte for byte, for %v: see what answers in the proxy's place", o.same.Round(time.Millisecond))
	}
	return nil
}

// old names the proxies whose page was there at a look before. Two looks that
// follow each other at once, as after an operator's word, may meet the same.
func (p *proxies) old() string {
	var names []string
	for _, o := range p.all {
		if o.same > p.config.interval()/2 {
			names = append(names, fmt.Sprintf("%s, byte for byte for %v", o.name, o.same.Round(time.Millisecond)))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "the page is the same as at the look before: " + listed(names)
}

// take adds a page to the totals. Counters that went back are those of a process
// that was started again, and begin at zero; of the same process, they lie, and
// so do those of which others went on. Whoever lied is watched from the start.
func (o *proxy) take(c *Config, now *page, at time.Time) error {
	fell, rose, which := false, false, key{}
	if o.last != nil {
		for k, n := range now.counts {
			was := o.last.counts[k]
			if n.events < was.events || n.bad < was.bad {
				fell, which = true, k
			}
			rose = rose || was.events != 0 && n.events > was.events
		}
		for k := range o.last.counts {
			if _, ok := now.counts[k]; !ok && now.start == o.last.start && !fell {
				return fmt.Errorf("%s of %s was on the page before and is not any more: see what changed", c.family(k), k.group)
			}
		}
	}
	told := o.last != nil && now.start != 0 && o.last.start != 0
	if fell && (told && now.start == o.last.start || !told && rose) {
		o.forget()
		return fmt.Errorf("%s of %s went back, and the process was not started again: see whether two proxies answer at one address", c.family(which), which.group)
	}
	// A process of which nobody saw the end may have counted much that is lost.
	again := fell || o.last != nil && now.start != o.last.start
	if again && at.Sub(o.at) > c.maxAge() {
		o.forget()
	}
	if o.rings == nil {
		for _, w := range c.Windows.all() {
			o.rings = append(o.rings, newRing(w, c.interval()))
		}
	}
	for k, n := range now.counts {
		i, known := o.place[k]
		if !known {
			i = len(o.totals)
			o.place[k], o.totals = i, append(o.totals, counts{})
		}
		switch {
		case o.last == nil: // what was before the first page is of no window
		case again:
			o.totals[i] = o.totals[i].plus(n)
		default:
			o.totals[i] = o.totals[i].plus(n.minus(o.last.counts[k]))
		}
	}
	o.last, o.at = now, at
	m := mark{at, slices.Clone(o.totals)}
	for _, r := range o.rings {
		r.add(m)
	}
	return nil
}

// forget begins anew: nothing is known of before.
func (o *proxy) forget() {
	o.last, o.rings, o.totals, o.place = nil, nil, nil, map[key]int{}
}

// sum adds the proxies up, each with a page of just now.
func (p *proxies) sum(at time.Time) reading {
	found := map[string]bool{}
	for _, d := range p.datacenters {
		found[d] = true
	}
	for _, one := range p.all {
		for k := range one.last.counts {
			found[k.datacenter] = true
		}
	}
	var names []string
	for d := range found {
		names = append(names, d)
	}
	slices.Sort(names)
	// Once a look: what the map's history says may have to be read.
	for _, one := range p.all {
		one.blind = one.last.memory.blind(one.name, at, p.config.Windows.base(), p.moved)
	}
	r := reading{}
	for _, k := range p.config.wanted(names) {
		for i, w := range p.config.Windows.all() {
			r.set(k, w, p.tally(k, i, w, at))
		}
	}
	return r
}

// tally adds one key up over one window.
func (p *proxies) tally(k key, window int, w time.Duration, at time.Time) tally {
	t := tally{seen: w}
	for _, o := range p.all {
		if _, ok := o.last.counts[k]; !ok {
			return tally{why: p.config.missing(o.name, k)}
		}
		if k.cohort != All && o.blind != "" {
			return tally{why: o.blind}
		}
		ring := o.rings[window]
		from, _ := ring.before(at) // there is one: take has added it
		span, whole := at.Sub(from.at), min(w, p.config.Windows.base())
		if ring.gap != 0 && float64(span) < seenShare*float64(whole) {
			return tally{why: fmt.Sprintf("nothing was known of %s for %v, and it is watched again for %v of %v: wait; it is to be looked at every %v",
				o.name, ring.gap.Round(time.Millisecond), span.Round(time.Millisecond), whole, p.config.interval())}
		}
		t.seen = min(t.seen, span)
		i := o.place[k]
		now := o.totals[i]
		if i < len(from.totals) {
			now = now.minus(from.totals[i])
		}
		t.counts = t.plus(now)
	}
	t.seen = max(t.seen, 1) // told, and nothing yet
	return t
}
