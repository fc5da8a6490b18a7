package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/consul/api"

	"drover/bucketmap"
)

// Acks returns the acknowledgement of every live proxy, sorted by id.
func (s *Store) Acks(ctx context.Context) ([]bucketmap.Ack, error) {
	bounded, end, err := s.begin(ctx, requestMax+electionMax)
	if err != nil {
		return nil, err
	}
	defer end()
	acks, err := retry(bounded, func(ctx context.Context) ([]bucketmap.Ack, error) {
		acks, _, err := s.readAcks(ctx, &api.QueryOptions{RequireConsistent: true})
		return acks, err
	})
	if err != nil {
		return nil, fmt.Errorf("acknowledgements: %w", s.explainAcks(ctx, err))
	}
	return acks, nil
}

var errBadAck = errors.New("no acknowledgement that Drover wrote; delete the key, and the proxy writes it again")

func (s *Store) explainAcks(ctx context.Context, err error) error {
	if errors.Is(err, errBadAck) {
		return err
	}
	return s.explain(ctx, err)
}

// readAcks is one request, which may be a blocking query.
func (s *Store) readAcks(ctx context.Context, q *api.QueryOptions) ([]bucketmap.Ack, uint64, error) {
	prefix := s.key(proxiesName, "")
	pairs, meta, err := s.client.KV().List(prefix, q.WithContext(ctx))
	if err != nil {
		return nil, 0, err
	}
	// Consul leaves out what the token may not see, and says so, but not to
	// whoever has no token. Fewer proxies than there are is the one thing that a
	// publisher must never be told.
	if meta.ResultsFilteredByACLs {
		return nil, 0, s.denied(fmt.Errorf("it shows not every key below %s", prefix))
	}
	if len(pairs) == 0 {
		if _, _, err := s.client.KV().Get(prefix, new(api.QueryOptions).WithContext(ctx)); err != nil {
			return nil, 0, err
		}
	}
	acks := []bucketmap.Ack{}
	for _, pair := range pairs {
		proxy := strings.TrimPrefix(pair.Key, prefix)
		// Without a session it is nobody's.
		if !bucketmap.ValidName(proxy) || pair.Session == "" {
			continue
		}
		var a ack
		if err := json.Unmarshal(pair.Value, &a); err != nil {
			return nil, 0, fmt.Errorf("%s: %w: %w", pair.Key, errBadAck, err)
		}
		if a.Proxy != proxy {
			return nil, 0, fmt.Errorf("%s: %w: it is of the proxy %q", pair.Key, errBadAck, a.Proxy)
		}
		acks = append(acks, bucketmap.Ack{
			Proxy: proxy, Version: a.Version, Digest: a.Digest, Since: a.Since.UTC(), Refused: a.Refused, Reason: a.Reason,
		})
	}
	slices.SortFunc(acks, func(a, b bucketmap.Ack) int { return strings.Compare(a.Proxy, b.Proxy) })
	return acks, meta.LastIndex, nil
}

// WatchAcks calls changed with all acknowledgements, at once and whenever one
// changes, a proxy comes to life or one dies. It goes on while Consul elects a
// leader or its agent restarts, for unreachableMin; then it returns the error.
func (s *Store) WatchAcks(ctx context.Context, changed func([]bucketmap.Ack) bool) error {
	if s.life.Err() != nil {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	w := acksWatch{store: s, pace: newRetry()}
	var reported []bucketmap.Ack
	for first := true; ; {
		acks, err := w.next(bounded)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("acknowledgements: %w", s.explainAcks(ctx, err))
		}
		if first || !slices.Equal(acks, reported) {
			first, reported = false, acks
			if !changed(slices.Clone(acks)) {
				return nil
			}
		}
	}
}

// acksWatch is where a watch of the acknowledgements is.
type acksWatch struct {
	store *Store
	pace  *backoff.ExponentialBackOff
	index uint64
}

// next waits for a change, and gets over a Consul that is away for a moment.
func (w *acksWatch) next(ctx context.Context) ([]bucketmap.Ack, error) {
	var lostAt time.Time
	for {
		asked := time.Now()
		acks, index, err := w.query(ctx)
		if err == nil {
			if stale(w.index, index, time.Since(asked), waitMax) {
				index = 0 // the next query is answered at once
				wait(ctx, w.pace.NextBackOff())
			} else if w.index != 0 {
				w.pace.Reset()
			}
			w.index = index
			return acks, nil
		}
		if lostAt.IsZero() {
			lostAt = time.Now()
		}
		unreachable := errors.Is(w.store.explain(ctx, err), ErrUnreachable) && !errors.Is(err, errBadAck)
		if !unreachable || time.Since(lostAt) >= unreachableMin || !wait(ctx, w.pace.NextBackOff()) {
			return nil, err
		}
		w.index = 0
	}
}

func (w *acksWatch) query(ctx context.Context) ([]bucketmap.Ack, uint64, error) {
	once, cancel := context.WithTimeoutCause(ctx, waitMax+answerMax, fmt.Errorf("no answer within %v", waitMax+answerMax))
	defer cancel()
	return w.store.readAcks(once, &api.QueryOptions{WaitIndex: w.index, WaitTime: waitMax})
}
