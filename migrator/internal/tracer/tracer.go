package tracer

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
)

// cursor says which tracer is next at a proxy.
type cursor struct{ n atomic.Uint64 }

// Tracer sends tracers through every proxy.
type Tracer struct {
	options       Options
	view          *view
	doors         []*door
	client, admin *http.Client
	run           string // in the ids of this run's requests
	date          string // of this run alone
	ids           atomic.Uint64
	metrics       *collector

	mu struct {
		sync.Mutex
		tallies  map[string]*tally // by proxy
		recent   []Result          // not right, the newest last
		unknown  []string          // live proxies that no tracer goes through
		fleetErr error
	}
}

// New makes a Tracer. It sends nothing and starts no goroutine.
func New(o Options) (*Tracer, error) {
	switch {
	case o.Map == nil || len(o.Proxies) == 0 || !o.Write.sent() && !o.Read.sent():
		return nil, errors.New("tracers want a map, one proxy or more, and a request to write or to read")
	case !o.Write.Datacenter.Named() && !o.Read.Datacenter.Named():
		return nil, errors.New("tracers want to know which datacenter answered: name the field in write or read")
	case !(o.Rate > 0) || o.Timeout <= 0 || o.Late <= 0 || o.Grace <= 0 || o.PerShard < 1 || o.Prefix == "":
		return nil, errors.New("tracers want a rate, a timeout, a late and a grace time above 0, one tracer a shard or more, and a prefix")
	}
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // it never fails
	t := &Tracer{options: o, view: newView(&o), client: newClient(o.TLS, o.Timeout), admin: newClient(o.AdminTLS, adminWaitMax),
		run: hex.EncodeToString(seed[:4]), date: dateOf(binary.BigEndian.Uint32(seed[4:]))}
	t.mu.tallies = map[string]*tally{}
	for i, p := range o.Proxies {
		if t.mu.tallies[p.Name] != nil || p.Name == "" {
			return nil, fmt.Errorf("proxy %q: want a name, each once", p.Name)
		}
		t.mu.tallies[p.Name] = &tally{outcomes: map[Outcome]uint64{}}
		d := &door{Proxy: p, index: i}
		d.cursor.n.Store(uint64(i)) // each proxy begins with another tracer
		t.doors = append(t.doors, d)
	}
	t.metrics = newCollector(t)
	return t, nil
}

// dateYears is from when to when the runs' dates are: far from any day of people,
// and 328,718 days, so that two runs at once have the same one once in as many.
const dateYears, dateDays = 2100, 328_718

// dateOf is a run's date.
func dateOf(seed uint32) string {
	return time.Date(dateYears, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, int(seed%dateDays)).Format(time.DateOnly)
}

// nextID is a request's id: of 30 bytes at most.
func (t *Tracer) nextID() string { return "t" + t.run + "-" + strconv.FormatUint(t.ids.Add(1), 10) }

// Start reads the map and chooses the tracers.
func (t *Tracer) Start(ctx context.Context) error {
	if err := t.view.start(ctx); err != nil {
		return err
	}
	t.lookAtFleet(ctx)
	return nil
}

// Close ends the connections.
func (t *Tracer) Close() {
	t.client.CloseIdleConnections()
	t.admin.CloseIdleConnections()
}

// Run sends until ctx ends, which is no error. Start comes before.
func (t *Tracer) Run(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return t.view.source.Watch(running, t.view.changed) })
	if t.options.Fleet != nil {
		group.Go(func() error { return t.followFleet(running) })
	}
	for _, p := range t.doors {
		turns := time.NewTicker(t.pace())
		defer turns.Stop()
		for range lanes {
			group.Go(func() error { return t.lane(running, p, turns.C) })
		}
	}
	err := group.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// pace is between two probes of one proxy: all together keep the rate.
func (t *Tracer) pace() time.Duration {
	requests := 0
	for _, r := range []*Request{&t.options.Write, &t.options.Read} {
		if r.sent() {
			requests++
		}
	}
	return max(time.Duration(float64(requests*len(t.doors))/t.options.Rate*float64(time.Second)), time.Microsecond)
}

// lane sends one probe after the other through a proxy.
func (t *Tracer) lane(ctx context.Context, p *door, turns <-chan time.Time) error {
	for {
		select {
		case <-turns:
		case <-ctx.Done():
			return ctx.Err()
		}
		if u := t.next(p); u != nil {
			t.probe(ctx, p, u, true, false)
		}
	}
}

// next takes the next tracer; nil when there is none.
func (t *Tracer) next(p *door) *user {
	users := t.view.list()
	if len(users) == 0 {
		return nil
	}
	return users[int(p.cursor.n.Add(1)%uint64(len(users)))]
}

// Round sends every tracer through every proxy once, at the rate.
func (t *Tracer) Round(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	users := t.view.list()
	for _, p := range t.doors {
		group.Go(func() error {
			turns := time.NewTicker(t.pace())
			defer turns.Stop()
			for i := range users {
				t.probe(running, p, users[(i+p.index)%len(users)], true, false)
				if i == len(users)-1 {
					break
				}
				select {
				case <-turns.C:
				case <-running.Done():
				}
				if running.Err() != nil {
					break
				}
			}
			return running.Err()
		})
	}
	return group.Wait()
}

// One sends one user through every proxy, and asks for passports. Without a user
// it is the first tracer. write is for users whose data may be changed.
func (t *Tracer) One(ctx context.Context, id string, write bool) ([]Result, error) {
	u, err := t.userOf(id)
	if err != nil {
		return nil, err
	}
	var results []Result
	for _, p := range t.doors {
		results = append(results, t.probe(ctx, p, u, write, true)...)
	}
	return results, ctx.Err()
}

func (t *Tracer) userOf(id string) (*user, error) {
	t.view.mu.Lock()
	defer t.view.mu.Unlock()
	for _, u := range t.view.mu.users {
		if u.id == id || id == "" {
			return u, nil
		}
	}
	if id == "" {
		return nil, errors.New("there is no tracer: the map gives no bucket a home")
	}
	if len(id) > bucketmap.UserIDMax {
		return nil, fmt.Errorf("a user id of %d bytes: want 1 to %d", len(id), bucketmap.UserIDMax)
	}
	return newUser(t.view.mu.snap, id, time.Now()), nil
}

// followFleet looks who is alive, now and then.
func (t *Tracer) followFleet(ctx context.Context) error {
	ticker := time.NewTicker(fleetEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			t.lookAtFleet(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *Tracer) lookAtFleet(ctx context.Context) {
	if t.options.Fleet == nil {
		return
	}
	acks, err := t.options.Fleet.Acks(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.fleetErr = err; err != nil {
		return
	}
	t.mu.unknown = nil
	for _, a := range acks {
		if t.mu.tallies[a.Proxy] == nil {
			t.mu.unknown = append(t.mu.unknown, a.Proxy)
		}
	}
}
