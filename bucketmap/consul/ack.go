package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"drover/bucketmap"
)

const (
	// ackMax bounds Ack.
	ackMax = 20 * time.Second
	// reasonMax bounds what an acknowledgement says of a refused map.
	reasonMax = 4 << 10
	// takeTries bounds how often a key is asked for that changes hands meanwhile,
	// or of which the lock delay of 1 ms is not over.
	takeTries = 20
	takePause = 5 * time.Millisecond
)

// ack is a bucketmap.Ack in Consul.
type ack struct {
	Proxy   string            `json:"proxy"`
	Version bucketmap.Version `json:"version"`
	Digest  bucketmap.Digest  `json:"digest,omitzero"`
	Since   time.Time         `json:"since"`
	Refused bucketmap.Version `json:"refused,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	// Process and Started say whose it is: a process that started later may take
	// the key from one that did earlier.
	Process string `json:"process"`
	Started int64  `json:"started"` // nanoseconds since 1970
}

func (s *Store) ackKey(proxy string) string { return s.key(proxiesName, proxy) }

// Ack makes known what a proxy runs, until Close or the end of the process.
func (s *Store) Ack(ctx context.Context, a bucketmap.Ack) error {
	if !bucketmap.ValidName(a.Proxy) {
		return fmt.Errorf("acknowledge the map: proxy id %q: want a name of up to %d letters, digits, '.', '_' or '-'",
			a.Proxy, bucketmap.NameMax)
	}
	bounded, end, err := s.begin(ctx, ackMax)
	if err != nil {
		return err
	}
	defer end()
	a.Reason = shorten(a.Reason, reasonMax)
	if err := s.acks.lock(bounded); err != nil {
		return fmt.Errorf("acknowledge the map: %w", s.explain(ctx, err))
	}
	defer s.acks.unlock()
	if err := s.give(bounded, a); err != nil {
		return fmt.Errorf("acknowledge the map: %w", s.explainAck(ctx, err))
	}
	return nil
}

func (s *Store) explainAck(ctx context.Context, err error) error {
	if errors.Is(err, ErrProxyTaken) {
		return err
	}
	return s.explain(ctx, err)
}

// give puts an acknowledgement under the session, which it makes if there is
// none or if it is over. It needs the turn.
func (s *Store) give(ctx context.Context, a bucketmap.Ack) error {
	if s.acks.session == "" {
		if err := s.beginSession(ctx); err != nil {
			return err
		}
	}
	err := s.take(ctx, a)
	if sessionOver(err) {
		s.acks.session = ""
		if err = s.beginSession(ctx); err == nil {
			err = s.take(ctx, a)
		}
	}
	if err == nil {
		s.acks.given[a.Proxy] = a
	}
	return err
}

// take writes the proxy's key, and locks it by the session. It needs the turn.
func (s *Store) take(ctx context.Context, a bucketmap.Ack) error {
	value, err := json.Marshal(ack{
		a.Proxy, a.Version, a.Digest, a.Since.UTC(), a.Refused, a.Reason, s.acks.process, s.acks.started,
	})
	if err != nil {
		return err
	}
	if s.acks.line == nil {
		if s.acks.line, err = newLine(s.options, s.transport); err != nil {
			return err
		}
	}
	for range takeTries {
		pair := &api.KVPair{Key: s.ackKey(a.Proxy), Value: value, Session: s.acks.session}
		acquire := func(ctx context.Context) (bool, error) {
			return s.acks.line.acquire(ctx, pair.Key, pair.Session, pair.Value, requestMax)
		}
		got, err := acquire(ctx) // nearly always enough
		if passing(err) {
			got, err = retry(ctx, acquire)
		}
		if err != nil || got {
			return err
		}
		if got, err = s.takeOver(ctx, pair); err != nil || got {
			return err
		}
		if !wait(ctx, takePause) {
			return context.Cause(ctx)
		}
	}
	return fmt.Errorf("%s changed hands %d times", s.ackKey(a.Proxy), takeTries)
}

// takeOver takes a key from an older process of the same proxy, in one
// transaction. It says false where whoever had the key gave it up.
func (s *Store) takeOver(ctx context.Context, pair *api.KVPair) (bool, error) {
	held, err := s.getConsistent(ctx, pair.Key)
	if err != nil || held == nil || held.Session == "" {
		return false, err
	}
	var holder ack
	// What is no acknowledgement is nobody's.
	if err := json.Unmarshal(held.Value, &holder); err == nil && holder.Process != s.acks.process && holder.Started >= s.acks.started {
		return false, fmt.Errorf("%s: %w", pair.Key, ErrProxyTaken)
	}
	return retry(ctx, func(ctx context.Context) (bool, error) {
		done, response, _, err := s.client.Txn().Txn(api.TxnOps{
			{KV: &api.KVTxnOp{Verb: api.KVDeleteCAS, Key: pair.Key, Index: held.ModifyIndex}},
			{KV: &api.KVTxnOp{Verb: api.KVLock, Key: pair.Key, Value: pair.Value, Session: pair.Session}},
		}, new(api.QueryOptions).WithContext(ctx))
		if err != nil || done {
			return done, err
		}
		return false, s.txnFailure(response)
	})
}
