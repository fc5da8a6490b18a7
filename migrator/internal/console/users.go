package console

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"drover/bucketmap"
	"drover/internal/pause"
)

const (
	topicUsers = "users"
	// samplesMax bounds the versions of the history that are read: each is a
	// whole map, and a curve of 1,280 pixels shows no more.
	samplesMax = 200
	// pointsMax bounds the curve; past it every second point goes.
	pointsMax = 600
	// tellEvery is how many versions of the history are read before the curve is
	// shown as far as it is known.
	tellEvery = 25
)

// point is how many users had their home in each datacenter from a time on.
type point struct {
	at      time.Time
	version bucketmap.Version
	users   map[bucketmap.Datacenter]uint64
}

// series are points in the order of their versions.
type series struct {
	points []point
	failed error
}

// curve is what the topic users carries.
type curve struct {
	// Unit is "users", or "buckets" where the users of a bucket are not known.
	Unit        string                 `json:"unit"`
	Datacenters []bucketmap.Datacenter `json:"datacenters"`
	// Points are seconds since 1970, version, and a number for each datacenter.
	Points [][]float64 `json:"points"`
}

// usersOf counts.
func (f *feed) usersOf(snap *bucketmap.Snapshot) map[bucketmap.Datacenter]uint64 {
	users := map[bucketmap.Datacenter]uint64{}
	in := map[bucketmap.ShardName]bucketmap.Datacenter{}
	for _, dc := range snap.Datacenters() {
		users[dc] = 0
	}
	for _, s := range snap.Shards() {
		in[s.Name] = s.Datacenter
		if f.weight == nil {
			users[s.Datacenter] += uint64(snap.BucketsOf(s.Name))
		}
	}
	if f.weight == nil {
		return users
	}
	for run := range snap.Runs() {
		dc, ok := in[run.Shard]
		if !ok {
			continue
		}
		for b := run.First; b <= run.Last; b++ {
			users[dc] += f.weight(b)
		}
	}
	return users
}

// usersNow is usersOf for the newest map. It counts what has changed since it was
// asked last: a version may come ten times a second, and a million buckets are
// not to be counted each time. Only live calls it.
func (f *feed) usersNow(snap *bucketmap.Snapshot) map[bucketmap.Datacenter]uint64 {
	was := f.counted
	f.counted = snap
	if f.weight == nil || was == nil || was.Buckets() != snap.Buckets() ||
		!slices.Equal(was.Shards(), snap.Shards()) || !slices.Equal(was.Datacenters(), snap.Datacenters()) {
		f.count = f.usersOf(snap)
		return maps.Clone(f.count)
	}
	for _, h := range bucketmap.Diff(was, snap).Homes {
		users := uint64(0)
		for b := h.First; b <= h.Last; b++ {
			users += f.weight(b)
		}
		if s, ok := snap.Shard(h.From); ok {
			f.count[s.Datacenter] -= users
		}
		if s, ok := snap.Shard(h.To); ok {
			f.count[s.Datacenter] += users
		}
	}
	return maps.Clone(f.count)
}

// add puts a point in its place. The history's time of a version counts more
// than when it was seen.
func (s *series) add(p point, ofHistory bool) {
	at, found := slices.BinarySearchFunc(s.points, p.version, func(p point, v bucketmap.Version) int {
		return int(int64(p.version) - int64(v))
	})
	switch {
	case !found:
		s.points = slices.Insert(s.points, at, p)
	case ofHistory:
		s.points[at].at = p.at
	}
	if len(s.points) > pointsMax {
		kept := s.points[:0]
		last := len(s.points) - 1
		for i, p := range s.points {
			if i == 0 || i == last || i%2 == 0 {
				kept = append(kept, p)
			}
		}
		s.points = kept
	}
}

// live adds the map that came into force now.
func (f *feed) live(snap *bucketmap.Snapshot) {
	users := f.usersNow(snap)
	f.mu.Lock()
	f.mu.users.add(point{f.hub.now(), snap.Version(), users}, false)
	f.mu.Unlock()
	f.tellUsers()
}

func (f *feed) tellUsers() {
	f.mu.Lock()
	points, err := slices.Clone(f.mu.users.points), f.mu.users.failed
	f.mu.Unlock()
	f.hub.tell(topicUsers, report{}, told{value: f.curveOf(points), has: true, err: err})
}

func (f *feed) curveOf(points []point) curve {
	c := curve{Unit: "buckets", Datacenters: []bucketmap.Datacenter{}, Points: [][]float64{}}
	if f.weight != nil {
		c.Unit = "users"
	}
	for _, p := range points {
		for dc := range p.users {
			if !slices.Contains(c.Datacenters, dc) {
				c.Datacenters = append(c.Datacenters, dc)
			}
		}
	}
	slices.Sort(c.Datacenters)
	for _, p := range points {
		line := []float64{float64(p.at.UnixMilli()) / 1000, float64(p.version)}
		for _, dc := range c.Datacenters {
			line = append(line, float64(p.users[dc]))
		}
		c.Points = append(c.Points, line)
	}
	return c
}

// recall reads the history, once, from the newest version back.
func (f *feed) recall(ctx context.Context) {
	WatchAgain(ctx, func() error {
		err := f.readHistory(ctx)
		f.mu.Lock()
		f.mu.users.failed = err
		f.mu.Unlock()
		f.tellUsers()
		if err == nil {
			<-ctx.Done() // the rest is live
		}
		return err
	}, func(error) {})
}

func (f *feed) readHistory(ctx context.Context) error {
	records, err := f.maps.History(ctx)
	if err != nil {
		return fmt.Errorf("the history of the map: %w", err)
	}
	for i, r := range sampled(records, samplesMax) {
		began := time.Now()
		snap, err := f.maps.At(ctx, r.Version)
		if err != nil {
			return fmt.Errorf("version %d of the history: %w", r.Version, err)
		}
		users := f.usersOf(snap)
		f.mu.Lock()
		f.mu.users.add(point{r.When, r.Version, users}, true)
		f.mu.Unlock()
		if i%tellEvery == tellEvery-1 {
			f.tellUsers()
		}
		// The past can wait: what is live has half of the time. A map of a million
		// buckets in no order takes a second to read.
		if err := pause.For(ctx, time.Since(began)); err != nil {
			return err
		}
	}
	return nil
}

// sampled takes most records, evenly, the first and the last among them.
func sampled(records []bucketmap.Record, most int) []bucketmap.Record {
	if len(records) <= most {
		return records
	}
	var some []bucketmap.Record
	for i := range most {
		some = append(some, records[i*(len(records)-1)/(most-1)])
	}
	return some
}
