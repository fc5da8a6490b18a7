package console

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
)

const (
	topicMap = "map"
	// deltaRunsMax is the longest change that is sent: 2,048 runs are 50 KiB of
	// JSON. After a longer one the grid is asked for anew: 2 MiB, or a few KiB
	// packed.
	deltaRunsMax = 2048
	// holdsMax bounds the holds that are listed.
	holdsMax = 1000
)

// gridChange is one event of the grid. A browser that has another version than
// From, and an older one than To, asks for the grid anew; so it does with Anew.
type gridChange struct {
	From bucketmap.Version `json:"from"`
	To   bucketmap.Version `json:"to"`
	Anew bool              `json:"anew,omitempty"`
	// Runs are first bucket, last bucket, and the home's number: its place in the
	// map's shards, from 1, and 0 for none.
	Runs [][3]uint32 `json:"runs,omitempty"`
}

// mapHead is the map but for its buckets.
type mapHead struct {
	Version     bucketmap.Version      `json:"version"`
	Digest      bucketmap.Digest       `json:"digest"`
	Buckets     uint32                 `json:"buckets"`
	Default     bucketmap.Default      `json:"default"`
	Datacenters []bucketmap.Datacenter `json:"datacenters"`
	Shards      []shardHead            `json:"shards"`
	Homeless    uint32                 `json:"homeless"`
	Holds       []bucketmap.Hold       `json:"holds"` // holdsMax at most
	HoldsMore   int                    `json:"holds_more,omitempty"`
	Whitelisted int                    `json:"whitelisted"`
}

type shardHead struct {
	Name       bucketmap.ShardName  `json:"name"`
	Datacenter bucketmap.Datacenter `json:"datacenter"`
	Epoch      bucketmap.Epoch      `json:"epoch"`
	Buckets    uint32               `json:"buckets"`
}

func headOf(snap *bucketmap.Snapshot) mapHead {
	h := mapHead{Version: snap.Version(), Digest: snap.Digest(), Buckets: snap.Buckets(), Default: snap.Default(),
		Datacenters: snap.Datacenters(), Shards: []shardHead{}, Homeless: snap.Homeless(), Holds: snap.Holds(), Whitelisted: snap.WhitelistLen()}
	for _, s := range snap.Shards() {
		h.Shards = append(h.Shards, shardHead{s.Name, s.Datacenter, s.Epoch, snap.BucketsOf(s.Name)})
	}
	if over := len(h.Holds) - holdsMax; over > 0 {
		h.Holds, h.HoldsMore = h.Holds[:holdsMax], over
	}
	if h.Holds == nil {
		h.Holds = []bucketmap.Hold{}
	}
	return h
}

// homeNumbers gives every shard its number.
func homeNumbers(snap *bucketmap.Snapshot) map[bucketmap.ShardName]uint16 {
	numbers := map[bucketmap.ShardName]uint16{"": 0}
	for i, s := range snap.Shards() {
		numbers[s.Name] = uint16(i + 1)
	}
	return numbers
}

// changeOf is what a browser needs to go from one map to the next.
func changeOf(from, to *bucketmap.Snapshot) gridChange {
	c := gridChange{To: to.Version(), Anew: true}
	if from == nil {
		return c
	}
	c.From = from.Version()
	named := func(a, b bucketmap.Shard) bool { return a.Name == b.Name }
	if from.Buckets() != to.Buckets() || to.Version() <= from.Version() || !slices.EqualFunc(from.Shards(), to.Shards(), named) {
		return c
	}
	homes := bucketmap.Diff(from, to).Homes
	if len(homes) > deltaRunsMax {
		return c
	}
	c.Anew = false
	numbers := homeNumbers(to)
	for _, h := range homes {
		c.Runs = append(c.Runs, [3]uint32{uint32(h.First), uint32(h.Last), uint32(numbers[h.To])})
	}
	return c
}

// gridBytes are the homes' numbers of all buckets, two bytes each, the lower
// first.
func gridBytes(snap *bucketmap.Snapshot) []byte {
	numbers := homeNumbers(snap)
	homes := make([]byte, 0, 2*snap.Buckets())
	for run := range snap.Runs() {
		number := numbers[run.Shard]
		for range run.Last - run.First + 1 {
			homes = binary.LittleEndian.AppendUint16(homes, number)
		}
	}
	return homes
}

// feed follows the map: its grid, its head and, with history, its users.
type feed struct {
	maps   Maps
	weight func(bucketmap.BucketID) uint64
	hub    *hub

	// counted is the map whose users by datacenter are count; see usersNow.
	counted *bucketmap.Snapshot
	count   map[bucketmap.Datacenter]uint64

	mu struct {
		sync.Mutex
		snap *bucketmap.Snapshot // the newest, nil before the first
		// packed is the grid of packedOf, made when it is first asked for.
		packed   []byte
		packedOf *bucketmap.Snapshot
		users    series
	}
}

// run follows the map until ctx ends.
func (f *feed) run(ctx context.Context) error {
	said := make(newest[told], 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		var last told
		WatchAgain(ctx, func() error {
			return f.maps.Watch(ctx, func(snap *bucketmap.Snapshot, err error) {
				if last.err = err; err == nil {
					last = told{value: snap, has: true}
				}
				said.put(last)
			})
		}, func(err error) {
			last.err = err
			said.put(last)
		})
		return nil
	})
	g.Go(func() error {
		var last report
		return paced(ctx, said, func(t told) {
			if snap, ok := t.value.(*bucketmap.Snapshot); ok {
				f.take(snap)
				t.value = headOf(snap)
			}
			last = f.hub.tell(topicMap, last, t)
		})
	})
	g.Go(func() error {
		f.recall(ctx)
		return nil
	})
	return g.Wait()
}

// take makes a map the newest, and tells what it changes in the grid before the
// map's head is told.
func (f *feed) take(snap *bucketmap.Snapshot) {
	f.mu.Lock()
	was := f.mu.snap
	same := was != nil && was.Version() == snap.Version() && was.Digest() == snap.Digest()
	f.mu.snap = snap
	f.mu.Unlock()
	if same {
		return
	}
	text, err := json.Marshal(changeOf(was, snap))
	if err == nil { // it is numbers
		f.hub.change(text)
	}
	f.live(snap)
}

// grid serves the homes of all buckets, and says of which version they are.
func (f *feed) grid(w http.ResponseWriter, r *http.Request) {
	snap, packed, err := f.packed()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Drover-Map-Version", strconv.FormatUint(uint64(snap.Version()), 10))
	w.Header().Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed) // who has gone needs nothing
		return
	}
	_, _ = w.Write(gridBytes(snap))
}

// packed returns the newest map and its grid, made once for all who ask.
func (f *feed) packed() (*bucketmap.Snapshot, []byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	snap := f.mu.snap
	if snap == nil {
		return nil, nil, bucketmap.ErrNoMap
	}
	if f.mu.packedOf != snap {
		var text bytes.Buffer
		zip, err := gzip.NewWriterLevel(&text, gzip.BestSpeed)
		if err != nil {
			return nil, nil, err
		}
		if _, err := zip.Write(gridBytes(snap)); err != nil {
			return nil, nil, err
		}
		if err := zip.Close(); err != nil {
			return nil, nil, err
		}
		f.mu.packed, f.mu.packedOf = text.Bytes(), snap
	}
	return snap, f.mu.packed, nil
}
