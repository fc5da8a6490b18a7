package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	keySetMax    = 1 << 20 // bytes; 128 keys with their certificates are less
	fetchWaitMax = 10 * time.Second
	redirectsMax = 3
	retryFirst   = time.Second // doubled after each failure, up to the interval
	jitter       = 0.2         // of an interval, either way
)

// keyring holds a source's key set and keeps it fresh.
//
//	want ─► wanted ─► run ─► refresh ─► current
//
// A request stores at most one wish, and reads current: it never waits.
type keyring struct {
	source  *JWTSource
	client  *http.Client
	current atomic.Pointer[keySet] // nil: never read
	wanted  chan struct{}          // of capacity 1

	changed func()                    // called once the new keys are in force
	read    func(keys int, err error) // called after each attempt
	retry   time.Duration             // retryFirst
	random  func() float64            // 0 to 1

	mu struct {
		sync.Mutex
		digest [sha256.Size]byte // of the current key set, as it came
	}
}

func newKeyring(s *JWTSource, client *http.Client) *keyring {
	return &keyring{
		source: s, client: client, wanted: make(chan struct{}, 1), retry: retryFirst, random: rand.Float64,
	}
}

// want asks run to read the key set soon.
func (k *keyring) want() {
	select {
	case k.wanted <- struct{}{}:
	default: // somebody has
	}
}

// run reads the key set at intervals and when it is wanted, until ctx ends.
// The gap holds always: it bounds what tokens with made-up key ids can cost.
func (k *keyring) run(ctx context.Context) {
	retry := k.retry
	wait := k.spread(k.source.Refresh)
	if k.current.Load() == nil {
		wait = 0
	}
	gap := time.Duration(0)
	for {
		if !k.pause(ctx, gap, nil) || !k.pause(ctx, wait-gap, k.wanted) {
			return
		}
		if err := k.refresh(ctx); err != nil {
			wait = k.spread(retry)
			retry = min(2*retry, k.source.Refresh)
		} else {
			wait = k.spread(k.source.Refresh)
			retry = k.retry
		}
		gap = min(k.source.RefreshGap, wait)
	}
}

// pause waits, at most until something is sent to cut. It says whether ctx is
// still alive.
func (k *keyring) pause(ctx context.Context, wait time.Duration, cut <-chan struct{}) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-cut:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// spread keeps many proxies from asking at one instant.
func (k *keyring) spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - jitter + 2*jitter*k.random()))
}

// refresh reads the key set once. Whatever goes wrong, the keys of before stay.
func (k *keyring) refresh(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.fetch(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		err = fmt.Errorf("%w: %s%s: %w", ErrKeys, k.source.URL, k.source.File, err)
		k.read(0, err)
		return err
	}
	k.read(k.current.Load().count, nil)
	return nil
}

func (k *keyring) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchWaitMax)
	defer cancel()
	raw, err := k.load(ctx)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(raw)
	if k.current.Load() != nil && digest == k.mu.digest {
		return nil // what was verified stays so
	}
	keys, err := parseKeys(raw, k.source.Algorithms)
	if err != nil {
		return err
	}
	k.mu.digest = digest
	k.current.Store(keys)
	k.changed()
	return nil
}

func (k *keyring) load(ctx context.Context) ([]byte, error) {
	if k.source.File != "" {
		file, err := os.Open(k.source.File)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return readAll(file)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.source.URL, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := k.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s: want 200", answer.Status)
	}
	return readAll(answer.Body)
}

func readAll(from io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(from, keySetMax+1))
	if err == nil && len(raw) > keySetMax {
		err = fmt.Errorf("it is over %d bytes", keySetMax)
	}
	return raw, err
}

// newClient returns the client for key sets. It follows few redirects, none
// that gives encryption up, and asks the environment for no proxy.
func newClient() *http.Client {
	return &http.Client{
		Timeout: fetchWaitMax,
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 1, IdleConnTimeout: fetchWaitMax,
			TLSHandshakeTimeout: fetchWaitMax, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if len(via) > redirectsMax {
				return fmt.Errorf("more than %d redirects", redirectsMax)
			}
			if via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
				return errors.New("a redirect from https to http")
			}
			return nil
		},
	}
}
