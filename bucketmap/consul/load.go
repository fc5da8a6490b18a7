package consul

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
	"drover/bucketmap/binary"
)

// Load returns the map in force.
func (s *Store) Load(ctx context.Context) (*bucketmap.Snapshot, error) {
	bounded, end, err := s.begin(ctx, loadMax)
	if err != nil {
		return nil, err
	}
	defer end()
	pair, err := s.getConsistent(bounded, s.pointerKey())
	var snapshot *bucketmap.Snapshot
	if err == nil {
		snapshot, err = s.read(bounded, pair)
	}
	if err != nil {
		return nil, fmt.Errorf("load the map: %w", s.explainLoad(ctx, err))
	}
	return snapshot, nil
}

// explainLoad leaves alone what is no failure of a request.
func (s *Store) explainLoad(ctx context.Context, err error) error {
	if errors.Is(err, bucketmap.ErrRefused) || errors.Is(err, bucketmap.ErrNoMap) {
		return err
	}
	return s.explain(ctx, err)
}

// read returns the map that a pointer stands for; nil is one that is missing.
func (s *Store) read(ctx context.Context, pair *api.KVPair) (*bucketmap.Snapshot, error) {
	d, err := s.pointer(ctx, pair)
	if err != nil {
		return nil, err
	}
	return s.resolve(ctx, d)
}

// pointer parses the pointer, or says what it means that there is none.
func (s *Store) pointer(ctx context.Context, pair *api.KVPair) (*document, error) {
	if pair != nil {
		return parseDocument(s.pointerKey(), pair.Value)
	}
	versions, err := s.versions(ctx)
	if err != nil {
		return nil, err
	}
	if len(versions) == 0 {
		return nil, fmt.Errorf("%s: %w", s.options.Prefix, bucketmap.ErrNoMap)
	}
	// The first one may have been published between the two looks: pointer and
	// record came in one transaction, so whoever sees the record sees both.
	if pair, err = s.getConsistent(ctx, s.pointerKey()); err != nil {
		return nil, err
	}
	if pair != nil {
		return parseDocument(s.pointerKey(), pair.Value)
	}
	newest := versions[len(versions)-1]
	return nil, refuse(bucketmap.RuleUnreadable, newest, fmt.Errorf("%s: %w, and version %d was in force", s.pointerKey(), ErrPointerGone, newest),
		fmt.Sprintf("put it back: consul kv get %s | consul kv put %s -", s.historyKey(newest), s.pointerKey()))
}

// resolve returns the map that d announces: the one in hand, or that and
// deltas, or the base and deltas. What the shorter ways cannot do, for whatever
// reason, the base must.
func (s *Store) resolve(ctx context.Context, d *document) (*bucketmap.Snapshot, error) {
	if newest := s.newest(); newest != nil {
		if newest.Version() == d.Version && newest.Digest() == d.Digest {
			return newest, nil
		}
		if newest.Version() < d.Version && d.Version-newest.Version() < deltasMax && len(d.Delta) != 0 {
			next, err := s.climb(ctx, newest, d)
			if err == nil {
				s.remember(next)
				return next, nil
			}
			if !errors.Is(err, bucketmap.ErrRefused) {
				return nil, err
			}
		}
	}
	snapshot, err := s.fromBase(ctx, d)
	if err != nil {
		return nil, err
	}
	s.remember(snapshot)
	return snapshot, nil
}

// fromBase reads the base and what has changed since.
func (s *Store) fromBase(ctx context.Context, d *document) (*bucketmap.Snapshot, error) {
	from, err := s.readBase(ctx, d.Base)
	if err != nil {
		return nil, err
	}
	return s.climb(ctx, from, d)
}

// climb applies the deltas of the history, and then d's own. It is for fewer
// than deltasMax of them.
func (s *Store) climb(ctx context.Context, from *bucketmap.Snapshot, d *document) (*bucketmap.Snapshot, error) {
	if from.Version() < d.Version {
		steps, err := s.steps(ctx, from.Version(), d)
		if err != nil {
			return nil, err
		}
		for _, step := range steps {
			if from, err = s.applyDelta(from, step); err != nil {
				return nil, err
			}
		}
	}
	if from.Version() != d.Version || from.Digest() != d.Digest {
		return nil, refuse(bucketmap.RuleHash, d.Version,
			fmt.Errorf("version %d was announced with the digest %v, and is version %d with %v", d.Version, d.Digest, from.Version(), from.Digest()), remedyRestore)
	}
	return from, nil
}

// steps returns the records that lead from a version to d, which is the last.
func (s *Store) steps(ctx context.Context, from bucketmap.Version, d *document) ([]*document, error) {
	if d.Version-from == 1 {
		return []*document{d}, nil
	}
	steps := make([]*document, d.Version-from)
	steps[len(steps)-1] = d
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(parallelMax)
	for i := range steps[:len(steps)-1] {
		version := from + 1 + bucketmap.Version(i)
		group.Go(func() (err error) {
			steps[i], err = s.step(reading, version)
			return err
		})
	}
	return steps, group.Wait()
}

// step reads a record of the history that others build on.
func (s *Store) step(ctx context.Context, version bucketmap.Version) (*document, error) {
	d, err := s.historic(ctx, version)
	if err == nil && d == nil {
		err = refuse(bucketmap.RuleUnreadable, version, fmt.Errorf("%s is missing", s.historyKey(version)), remedyRestore)
	}
	return d, err
}

// historic reads a record of the history; nil is one that is not there.
func (s *Store) historic(ctx context.Context, version bucketmap.Version) (*document, error) {
	key := s.historyKey(version)
	pair, err := s.getImmutable(ctx, key, func([]byte) bool { return true })
	if err != nil || pair == nil {
		return nil, err
	}
	return s.parseHistoric(pair, version)
}

func (s *Store) parseHistoric(pair *api.KVPair, version bucketmap.Version) (*document, error) {
	d, err := parseDocument(pair.Key, pair.Value)
	if err == nil && d.Version != version {
		err = refuse(bucketmap.RuleUnreadable, version, fmt.Errorf("%s is the record of version %d", pair.Key, d.Version), remedyRestore)
	}
	return d, err
}

// applyDelta goes one version on.
func (s *Store) applyDelta(from *bucketmap.Snapshot, d *document) (*bucketmap.Snapshot, error) {
	if len(d.Delta) == 0 {
		return nil, refuse(bucketmap.RuleUnreadable, d.Version, fmt.Errorf("%s is missing", d.deltaName()), remedyRestore)
	}
	delta, err := binary.DecodeDelta(d.Delta, s.options.Keys)
	if err != nil {
		return nil, refuseCode(d.Version, d.deltaName(), err)
	}
	if delta.From != from.Digest() || delta.To != d.Digest {
		return nil, refuse(bucketmap.RuleHash, d.Version, fmt.Errorf("%s leads from %v to %v, want from %v to %v",
			d.deltaName(), delta.From, delta.To, from.Digest(), d.Digest), remedyRestore)
	}
	next, err := delta.Apply(from)
	if err != nil {
		return nil, refuse(bucketmap.RuleHash, d.Version, fmt.Errorf("%s: %w", d.deltaName(), err), remedyRestore)
	}
	return next, nil
}

// At returns the map of one version.
func (s *Store) At(ctx context.Context, version bucketmap.Version) (*bucketmap.Snapshot, error) {
	bounded, end, err := s.begin(ctx, loadMax)
	if err != nil {
		return nil, err
	}
	defer end()
	var d *document
	if version >= 1 && version <= bucketmap.VersionMax {
		// Consistently: an old leader may not know that it is in force.
		var pair *api.KVPair
		if pair, err = s.getConsistent(bounded, s.historyKey(version)); err == nil && pair != nil {
			d, err = s.parseHistoric(pair, version)
		}
	}
	if err == nil && d == nil {
		err = fmt.Errorf("it is not in the history: %w", bucketmap.ErrNoMap)
	}
	var snapshot *bucketmap.Snapshot
	if err == nil {
		if newest := s.newest(); newest != nil && newest.Version() == version && newest.Digest() == d.Digest {
			return newest, nil
		}
		snapshot, err = s.fromBase(bounded, d)
	}
	if err != nil {
		return nil, fmt.Errorf("version %d of the map: %w", version, s.explainLoad(ctx, err))
	}
	return snapshot, nil
}
