package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"drover/bucketmap"
)

const (
	// lockDelay is the least that Consul takes: it keeps a key from being locked
	// again after its session was lost, which protects nothing here.
	lockDelay = time.Millisecond
	// renewals is how often a session is renewed within its time.
	renewals = 3
)

// sessionText is what Consul says of a session that is over, when a key is to be
// locked by it.
const sessionText = "invalid session"

// acknowledger is the process's session, and what is bound to it.
type acknowledger struct {
	process string // a random word
	started int64
	group   sync.WaitGroup // of the renewal

	// turn guards the fields below. It is a channel, because who has it talks to
	// Consul, and who waits for it may not want to any more.
	turn     chan struct{}
	line     *line                    // nil before the first acknowledgement
	session  string                   // empty for none
	given    map[string]bucketmap.Ack // by proxy: the newest that Consul took
	renewing bool
}

func (a *acknowledger) lock(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *acknowledger) unlock() { <-a.turn }

func sessionOver(err error) bool { return err != nil && strings.Contains(err.Error(), sessionText) }

// txnFailure turns what a transaction says into an error; conditions that do
// not hold are none.
func (s *Store) txnFailure(response *api.TxnResponse) error {
	for _, failure := range response.Errors {
		if strings.Contains(failure.What, deniedText) {
			return s.denied(errors.New(failure.What))
		}
		if strings.Contains(failure.What, sessionText) {
			return errors.New(failure.What)
		}
	}
	return nil
}

// beginSession makes the session, and starts its renewal. It needs the turn.
func (s *Store) beginSession(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	entry := &api.SessionEntry{
		Name:      fmt.Sprintf("drover %s/%d", host, os.Getpid()),
		TTL:       s.options.SessionTTL.String(),
		LockDelay: lockDelay,
		Behavior:  api.SessionBehaviorDelete,
	}
	// An answer that is lost leaves a session of which nobody knows, with no
	// key; its time runs out.
	session, err := retry(ctx, func(ctx context.Context) (string, error) {
		id, _, err := s.client.Session().CreateNoChecks(entry, new(api.WriteOptions).WithContext(ctx))
		return id, err
	})
	if err != nil {
		return err
	}
	s.acks.session = session
	if !s.acks.renewing && s.life.Err() == nil {
		s.acks.renewing = true
		s.acks.group.Go(s.renew)
	}
	return nil
}

// renew keeps the session until the store's end, and what was given under it.
func (s *Store) renew() {
	rest := s.options.SessionTTL / renewals
	pace := newRetry()
	for next := rest; wait(s.life, next); {
		if next = rest; s.renewOnce() != nil {
			next = min(rest, pace.NextBackOff())
		} else {
			pace.Reset()
		}
	}
}

// renewOnce renews the session, or makes another, and gives again what is not
// there any more.
func (s *Store) renewOnce() error {
	ctx, cancel := context.WithTimeout(s.life, ackMax)
	defer cancel()
	if err := s.acks.lock(ctx); err != nil {
		return err
	}
	defer s.acks.unlock()
	if s.acks.session != "" {
		entry, err := retry(ctx, func(ctx context.Context) (*api.SessionEntry, error) {
			entry, _, err := s.client.Session().Renew(s.acks.session, new(api.WriteOptions).WithContext(ctx))
			return entry, err
		})
		if err != nil {
			return err
		}
		if entry == nil {
			s.acks.session = ""
		}
	}
	var failures []error
	for _, proxy := range slices.Sorted(maps.Keys(s.acks.given)) {
		failures = append(failures, s.keep(ctx, s.acks.given[proxy]))
	}
	return errors.Join(failures...)
}

// keep gives an acknowledgement again if it is gone, or not the newest. It needs the turn.
func (s *Store) keep(ctx context.Context, a bucketmap.Ack) error {
	if s.acks.session != "" {
		pair, err := s.get(ctx, s.ackKey(a.Proxy), api.QueryOptions{AllowStale: true})
		if err != nil {
			return err
		}
		if pair != nil && pair.Session == s.acks.session && says(pair.Value, a) {
			return nil
		}
	}
	err := s.give(ctx, a)
	if errors.Is(err, ErrProxyTaken) {
		// A younger process has it. The next Ack says so.
		delete(s.acks.given, a.Proxy)
		return nil
	}
	return err
}

// says tells whether a value is an acknowledgement. It may be an older one: a
// request whose connection broke can reach Consul after the next did.
func says(value []byte, a bucketmap.Ack) bool {
	var held ack
	return json.Unmarshal(value, &held) == nil && held.Version == a.Version && held.Digest == a.Digest && held.Refused == a.Refused
}

// endSession takes the acknowledgements back.
func (s *Store) endSession() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeMax)
	defer cancel()
	if err := s.acks.lock(ctx); err != nil {
		return err
	}
	defer s.acks.unlock()
	if s.acks.line != nil {
		s.acks.line.close()
	}
	if s.acks.session == "" {
		return nil
	}
	_, err := retry(ctx, func(ctx context.Context) (struct{}, error) {
		_, err := s.client.Session().Destroy(s.acks.session, new(api.WriteOptions).WithContext(ctx))
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("the acknowledgements stay for up to %v: %w", 2*s.options.SessionTTL, err)
	}
	s.acks.session = ""
	clear(s.acks.given)
	return nil
}
