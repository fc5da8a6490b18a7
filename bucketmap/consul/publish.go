package consul

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"drover/bucketmap"
	"drover/bucketmap/binary"
)

// outcomeMax bounds the look whether a publication is in force whose time was
// up, or whose caller went away.
const outcomeMax = 3 * time.Second

// Publish puts next in force. See the package's comment for the steps. Where
// the answer to the last was lost and could not be had again,
// bucketmap.ErrOutcomeUnknown.
func (s *Store) Publish(ctx context.Context, next *bucketmap.Snapshot, change bucketmap.Change) error {
	p := &publication{store: s, next: next, change: change}
	return p.within(ctx, "publish", func(ctx context.Context) error {
		if err := p.stage(ctx); err != nil {
			return err
		}
		return p.putInForce(ctx)
	})
}

// within runs a part of the publication, bounded.
func (p *publication) within(ctx context.Context, what string, part func(context.Context) error) error {
	bounded, end, err := p.store.begin(ctx, publishMax)
	if err != nil {
		return err
	}
	defer end()
	if err := part(bounded); err != nil {
		return fmt.Errorf("%s version %d: %w", what, p.next.Version(), p.explain(ctx, err))
	}
	return nil
}

// publication is one call of Publish, or of Stage and what follows.
type publication struct {
	store  *Store
	next   *bucketmap.Snapshot
	change bucketmap.Change

	current *bucketmap.Snapshot // nil for the first version
	before  *document           // the pointer that is replaced; nil for the first version
	index   uint64              // its ModifyIndex; 0 for the first version

	document *document
	value    []byte // document's text
}

// explain leaves alone what Publish promises to its callers.
func (p *publication) explain(ctx context.Context, err error) error {
	for _, class := range []error{bucketmap.ErrConflict, bucketmap.ErrOutcomeUnknown, ErrPointerOld, errBadChange} {
		if errors.Is(err, class) {
			return err
		}
	}
	return p.store.explainLoad(ctx, err)
}

var errBadChange = errors.New("it cannot be published")

// stage does everything but the commit.
func (p *publication) stage(ctx context.Context) error {
	if len(p.change.Who) > whoMax || len(p.change.Why) > whyMax {
		return fmt.Errorf("%w: who of %d bytes and why of %d: want %d and %d at most", errBadChange, len(p.change.Who), len(p.change.Why), whoMax, whyMax)
	}
	if err := p.look(ctx); err != nil {
		return err
	}
	return p.prepare(ctx)
}

// look reads what is in force and compares.
func (p *publication) look(ctx context.Context) error {
	s := p.store
	pair, err := s.getConsistent(ctx, s.pointerKey())
	if err != nil {
		return err
	}
	p.before, err = s.pointer(ctx, pair)
	var version bucketmap.Version
	switch {
	case errors.Is(err, bucketmap.ErrNoMap):
	case err != nil:
		return err
	default:
		version, p.index = p.before.Version, pair.ModifyIndex
	}
	if p.next.Version() != version+1 {
		return fmt.Errorf("version %d is in force: %w", version, bucketmap.ErrConflict)
	}
	if p.before == nil {
		return nil
	}
	if p.current, err = s.resolve(ctx, p.before); err != nil {
		return err
	}
	return bucketmap.CheckSuccessor(p.current, p.next)
}

// prepare makes the new pointer, and writes a full encoding where one is due.
func (p *publication) prepare(ctx context.Context) (err error) {
	s := p.store
	p.document = &document{
		Format: documentFormat, Version: p.next.Version(), Digest: p.next.Digest(), ID: rand.Text(),
		Who: p.change.Who, Why: p.change.Why, When: s.options.Now().UTC(),
	}
	due := p.before == nil || p.before.Deltas+1 >= deltasMax || p.before.Base.Signer != s.signer()
	if p.before != nil {
		if p.document.Delta = p.delta(); p.document.Delta == nil {
			due = true
		}
	}
	if due {
		p.document.Base, err = s.writeBase(ctx, p.next)
	} else {
		p.document.Base, p.document.Deltas = p.before.Base, p.before.Deltas+1
	}
	if err == nil {
		p.value, err = p.document.encode()
	}
	return err
}

// delta returns the encoded change, or nil where it is large or a reader would
// not come by it to the same map.
func (p *publication) delta() []byte {
	s := p.store
	data := binary.AppendDelta(nil, binary.MakeDelta(p.current, p.next), s.options.Sign)
	if len(data) > deltaMax {
		return nil
	}
	decoded, err := binary.DecodeDelta(data, nil)
	if err != nil {
		return nil
	}
	if arrived, err := decoded.Apply(p.current); err != nil || arrived.Digest() != p.next.Digest() {
		return nil
	}
	return data
}

// putInForce commits.
func (p *publication) putInForce(ctx context.Context) error {
	if err := p.commit(ctx); err != nil {
		return err
	}
	p.store.remember(p.next)
	return nil
}

// commit replaces the pointer and adds the record in one transaction. That one
// is sent until there is an answer: its conditions keep it from taking effect
// twice.
func (p *publication) commit(ctx context.Context) error {
	s := p.store
	ops := api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVCAS, Key: s.pointerKey(), Value: p.value, Index: p.index}},
		{KV: &api.KVTxnOp{Verb: api.KVCAS, Key: s.historyKey(p.next.Version()), Value: p.value}},
	}
	sent := false // perhaps one reached Consul of which there is no answer
	pace := newRetry()
	for {
		done, response, err := s.transact(ctx, ops)
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			return p.rolledBack(ctx, response, sent)
		}
		sent = sent || !notSent(err) && !refused(err)
		if refused(err) || ctx.Err() != nil || !wait(ctx, pace.NextBackOff()) {
			if !sent {
				return err
			}
			return p.outcome(ctx, err)
		}
	}
}

func (s *Store) transact(ctx context.Context, ops api.TxnOps) (bool, *api.TxnResponse, error) {
	once, cancel := context.WithTimeoutCause(ctx, requestMax, fmt.Errorf("no answer within %v", requestMax))
	defer cancel()
	done, response, _, err := s.client.Txn().Txn(ops, new(api.QueryOptions).WithContext(once))
	return done, response, err
}

// refused says whether Consul answered that it does not do it, whenever asked.
func refused(err error) bool {
	var status *statusError
	return errors.As(err, &status) && !passing(err)
}

// wait says whether the time went by before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// rolledBack says why the transaction's conditions did not hold. It may be that
// they did, before, and the answer was lost.
func (p *publication) rolledBack(ctx context.Context, response *api.TxnResponse, sent bool) error {
	history := false
	for _, failure := range response.Errors {
		if strings.Contains(failure.What, deniedText) {
			return p.store.denied(errors.New(failure.What))
		}
		history = history || failure.OpIndex == 1
	}
	ours, now, err := p.inForce(ctx)
	switch {
	case ours:
		return nil
	case err != nil && sent:
		return fmt.Errorf("%w: %w", bucketmap.ErrOutcomeUnknown, err)
	case err != nil:
		return fmt.Errorf("%w, and what was cannot be read: %w", bucketmap.ErrConflict, err)
	case history && now == p.index:
		key := p.store.historyKey(p.next.Version())
		return fmt.Errorf("%w: %s is there; put the newest record of the history back (consul kv get KEY | consul kv put %s -), and publish again",
			ErrPointerOld, key, p.store.pointerKey())
	default:
		return bucketmap.ErrConflict
	}
}

// outcome finds out what became of a publication without an answer, when there
// is no time left to ask for one.
func (p *publication) outcome(ctx context.Context, cause error) error {
	looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), outcomeMax)
	defer cancel()
	ours, now, err := p.inForce(looking)
	switch {
	case ours:
		return nil
	case err == nil && now != p.index:
		return fmt.Errorf("%w (%w)", bucketmap.ErrConflict, cause) // and ours can no longer be
	default:
		// Not there yet is not never: it can be on its way still.
		return fmt.Errorf("%w: %w", bucketmap.ErrOutcomeUnknown, errors.Join(cause, err))
	}
}

// inForce says whether this publication is or was in force, and returns the
// pointer's ModifyIndex.
func (p *publication) inForce(ctx context.Context) (ours bool, index uint64, err error) {
	s := p.store
	pair, err := s.getConsistent(ctx, s.pointerKey())
	if err != nil {
		return false, 0, err
	}
	if pair != nil {
		index = pair.ModifyIndex
		if bytes.Equal(pair.Value, p.value) {
			return true, index, nil
		}
	}
	// Somebody may have published upon it since.
	record, err := s.getConsistent(ctx, s.historyKey(p.next.Version()))
	if err != nil {
		return false, index, err
	}
	return record != nil && bytes.Equal(record.Value, p.value), index, nil
}
