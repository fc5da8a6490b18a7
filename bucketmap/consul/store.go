package consul

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/consul/api"

	"drover/bucketmap"
)

// The keys below the prefix.
const (
	pointerName = "pointer"
	historyName = "history"
	chunksName  = "chunks"
	proxiesName = "proxies"
)

const (
	// loadMax bounds Load, At and History: 64 MiB at 3 MiB/s.
	loadMax = 30 * time.Second
	// publishMax bounds Publish, elections included.
	publishMax = 30 * time.Second
	// requestMax bounds one request that does not wait for a change.
	requestMax = 10 * time.Second
	// electionMax is how long a read is tried again when there is no leader.
	electionMax = 8 * time.Second
	// closeMax bounds what Close says to Consul.
	closeMax = 3 * time.Second
	// parallelMax is how many requests one call has under way.
	parallelMax = 8

	retryMin = 20 * time.Millisecond
	retryMax = 2 * time.Second
)

// Store is a map in Consul.
type Store struct {
	options   Options
	client    *api.Client
	transport *http.Transport

	life context.Context //nolint:containedctx // the store's own: ends with Close
	end  context.CancelFunc

	acks acknowledger

	mu struct {
		sync.Mutex
		newest *bucketmap.Snapshot // the one last loaded or published, verified
	}
}

var _ bucketmap.Store = (*Store)(nil)

// Open returns the store at the options' address. It does not connect: a proxy
// starts by its last good map when Consul is down.
func Open(opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("open the map in Consul: %w", err)
	}
	client, transport, err := newClient(opts)
	if err != nil {
		return nil, fmt.Errorf("open the map in Consul: %w", err)
	}
	s := &Store{options: opts, client: client, transport: transport}
	s.life, s.end = context.WithCancel(context.Background())
	s.acks = acknowledger{
		turn:    make(chan struct{}, 1),
		process: rand.Text(),
		started: opts.Now().UnixNano(),
		given:   map[string]bucketmap.Ack{},
	}
	return s, nil
}

// Close ends every call under way with ErrClosed and takes back the
// acknowledgements given through this store. It may be called twice. When
// Consul cannot be told, they stay until the session's time is up.
func (s *Store) Close() error {
	s.end()
	s.acks.group.Wait()
	err := s.endSession()
	s.transport.CloseIdleConnections()
	if err != nil {
		return fmt.Errorf("close the map in Consul: %w", err)
	}
	return nil
}

func (s *Store) key(names ...string) string {
	key := s.options.Prefix
	for _, name := range names {
		key += "/" + name
	}
	return key
}

func (s *Store) pointerKey() string { return s.key(pointerName) }

func (s *Store) chunkKey(name string) string { return s.key(chunksName, name) }

func (s *Store) historyKey(version bucketmap.Version) string {
	return s.key(historyName, fmt.Sprintf("%012d", version))
}

// begin returns a context for one call: bounded, and ended by Close.
func (s *Store) begin(ctx context.Context, limit time.Duration) (context.Context, func(), error) {
	if s.life.Err() != nil {
		return nil, nil, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	bounded, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no result within %v", limit))
	stop := context.AfterFunc(s.life, cancel)
	return bounded, func() { stop(); cancel() }, nil
}

// newRetry returns the pace at which a request is sent again; every process has
// another.
func newRetry() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.RandomizationFactor = retryMin, retryMax, 0.5
	b.Multiplier = 2
	return b
}

// retry sends a request that may be sent twice again while Consul elects a
// leader.
func retry[T any](ctx context.Context, request func(context.Context) (T, error)) (T, error) {
	return backoff.Retry(ctx, func() (T, error) {
		once, cancel := context.WithTimeoutCause(ctx, requestMax, fmt.Errorf("no answer within %v", requestMax))
		defer cancel()
		result, err := request(once)
		if err != nil && !passing(err) {
			err = backoff.Permanent(err)
		}
		return result, err
	}, backoff.WithBackOff(newRetry()), backoff.WithMaxElapsedTime(electionMax))
}

// get reads one key. A key that is not there is nil.
func (s *Store) get(ctx context.Context, key string, q api.QueryOptions) (*api.KVPair, error) {
	pair, err := retry(ctx, func(ctx context.Context) (*api.KVPair, error) {
		pair, _, err := s.client.KV().Get(key, q.WithContext(ctx))
		return pair, err
	})
	return pair, err
}

// getImmutable reads a key that is written once: any server may have it, and
// the leader is asked only where that one does not.
func (s *Store) getImmutable(ctx context.Context, key string, good func([]byte) bool) (*api.KVPair, error) {
	pair, err := s.get(ctx, key, api.QueryOptions{AllowStale: true})
	if err == nil && pair != nil && good(pair.Value) {
		return pair, nil
	}
	return s.getConsistent(ctx, key)
}

// getConsistent reads what the last write left.
func (s *Store) getConsistent(ctx context.Context, key string) (*api.KVPair, error) {
	return s.get(ctx, key, api.QueryOptions{RequireConsistent: true})
}

// put writes a key, whatever it held.
func (s *Store) put(ctx context.Context, key string, value []byte) error {
	_, err := retry(ctx, func(ctx context.Context) (struct{}, error) {
		_, err := s.client.KV().Put(&api.KVPair{Key: key, Value: value}, new(api.WriteOptions).WithContext(ctx))
		return struct{}{}, err
	})
	return err
}

func (s *Store) newest() *bucketmap.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.newest
}

func (s *Store) remember(snapshot *bucketmap.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.newest = snapshot
}
