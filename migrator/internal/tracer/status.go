package tracer

import (
	"maps"
	"slices"
	"time"

	"drover/bucketmap"
)

// tally is what is kept of a proxy's results.
type tally struct {
	outcomes map[Outcome]uint64
	total    time.Duration
	slowest  time.Duration
	version  bucketmap.Version
	last     time.Time // of the last result that was right
	worst    *Result   // the last that was not
}

// Status is how the tracers do.
type Status struct {
	Version bucketmap.Version `json:"version"` // of the published map
	Users   []string          `json:"users"`
	// Untraced are the shards with users and the live proxies that no tracer goes
	// to, and why: what is not looked at is not known to be right.
	Untraced []string `json:"untraced,omitempty"`
	// Empty are the datacenters where no bucket lives and no tracer goes.
	Empty   []bucketmap.Datacenter `json:"empty,omitempty"`
	Error   string                 `json:"error,omitempty"` // why the newest map, or the fleet, cannot be read
	Proxies []ProxyStatus          `json:"proxies"`
	Recent  []Result               `json:"recent,omitempty"` // not right, the newest first
}

// ProxyStatus is how the tracers through one proxy do.
type ProxyStatus struct {
	Proxy     string             `json:"proxy"`
	Version   bucketmap.Version  `json:"version"` // 0: not known
	Outcomes  map[Outcome]uint64 `json:"outcomes"`
	Requests  uint64             `json:"requests"`
	MeanMS    float64            `json:"mean_ms"`
	SlowestMS float64            `json:"slowest_ms"`
	LastRight time.Time          `json:"last_right,omitzero"`
	// Last is the last result that was not right.
	Last *Result `json:"last,omitempty"`
}

// Bad is how many results were not right.
func (p ProxyStatus) Bad() uint64 { return p.Requests - p.Outcomes[Right] }

// Bad is how many results of all proxies were not right.
func (s Status) Bad() (n uint64) {
	for _, p := range s.Proxies {
		n += p.Bad()
	}
	return n
}

// Silent are the proxies through which nothing went.
func (s Status) Silent() (silent []string) {
	for _, p := range s.Proxies {
		if p.Requests == 0 {
			silent = append(silent, p.Proxy)
		}
	}
	return silent
}

// report counts a result and tells it.
func (t *Tracer) report(r Result) {
	t.metrics.observe(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.mu.tallies[r.Proxy]
	n.outcomes[r.Outcome]++
	took := time.Duration(r.Times.TotalMS * float64(time.Millisecond))
	n.total += took
	n.slowest = max(n.slowest, took)
	if r.Sent.Version != 0 {
		n.version = r.Sent.Version
	}
	if r.Outcome == Right {
		n.last = r.At
	} else {
		n.worst = &r
		t.mu.recent = append(t.mu.recent[max(0, len(t.mu.recent)-recentMax+1):], r)
	}
	if t.options.Report != nil {
		t.options.Report(r)
	}
}

// Status returns how the tracers do.
func (t *Tracer) Status() Status {
	s := Status{Users: []string{}, Proxies: []ProxyStatus{}}
	t.view.mu.Lock()
	s.Version = t.view.mu.snap.Version()
	there := map[bucketmap.Datacenter]bool{}
	for _, u := range t.view.mu.users {
		s.Users = append(s.Users, bucketmap.UserID(u.id).String())
		there[u.places[len(u.places)-1].Datacenter] = true
	}
	for _, name := range t.view.mu.short {
		s.Untraced = append(s.Untraced, "shard "+string(name)+": no user id of the prefix was found for it")
	}
	for _, dc := range t.view.mu.snap.Datacenters() {
		if !there[dc] {
			s.Empty = append(s.Empty, dc)
		}
	}
	if t.view.mu.failed != nil {
		s.Error = t.view.mu.failed.Error()
	}
	t.view.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range t.mu.unknown {
		s.Untraced = append(s.Untraced, "proxy "+name+": it is alive, and not in tracers.proxies")
	}
	if t.mu.fleetErr != nil && s.Error == "" {
		s.Error = t.mu.fleetErr.Error()
	}
	for _, p := range t.doors {
		s.Proxies = append(s.Proxies, t.mu.tallies[p.Name].public(p.Name))
	}
	s.Recent = slices.Clone(t.mu.recent)
	slices.Reverse(s.Recent)
	return s
}

func (n *tally) public(name string) ProxyStatus {
	p := ProxyStatus{Proxy: name, Version: n.version, Outcomes: maps.Clone(n.outcomes), SlowestMS: milliseconds(n.slowest), LastRight: n.last, Last: n.worst}
	for _, c := range n.outcomes {
		p.Requests += c
	}
	if p.Requests != 0 {
		p.MeanMS = milliseconds(n.total / time.Duration(p.Requests))
	}
	return p
}
