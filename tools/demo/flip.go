package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"drover/bucketmap"
	"drover/tools/demo/internal/stage"
)

// flip is what was seen of the default: where requests without a user land.
type flip struct {
	sync.Mutex
	datacenters []string // in the order in which they were seen
	said        string   // the announcement
}

// flipEvery is how often a request without a user is sent.
const flipEvery = 100 * time.Millisecond

// watchDefault sends requests without a user, and announces when they begin to
// land elsewhere.
func (s *show) watchDefault(ctx context.Context) {
	for wait(ctx, flipEvery) == nil {
		datacenter, ok := s.users.Nobody(ctx)
		if ok {
			s.landed(ctx, datacenter)
		}
	}
}

func (s *show) landed(ctx context.Context, datacenter string) {
	s.flip.Lock()
	defer s.flip.Unlock()
	seen := s.flip.datacenters
	if len(seen) != 0 && seen[len(seen)-1] == datacenter {
		return
	}
	s.flip.datacenters = append(seen, datacenter)
	if len(seen) == 0 {
		return
	}
	share := ""
	if snap, err := s.stage.Map(ctx); err == nil {
		share = fmt.Sprintf(" %d of %d buckets live in %s now, so", bucketsIn(snap, stage.Target), snap.Buckets(), stage.Target)
	}
	s.flip.said = fmt.Sprintf("The default has changed:%s a request without a user lands in %s (before: %s).", share, datacenter, seen[len(seen)-1])
	s.screen.line("   ** %s", s.flip.said)
}

// flipped says whether the default changed once, from source to target.
func (s *show) flipped() bool {
	s.flip.Lock()
	defer s.flip.Unlock()
	d := s.flip.datacenters
	return len(d) == 2 && d[0] == string(stage.Source) && d[1] == string(stage.Target)
}

func bucketsIn(snap *bucketmap.Snapshot, datacenter bucketmap.Datacenter) int {
	n := 0
	for run := range snap.Runs() {
		if shard, ok := snap.Shard(run.Shard); ok && shard.Datacenter == datacenter {
			n += int(run.Last-run.First) + 1
		}
	}
	return n
}
