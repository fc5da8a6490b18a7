package consul

import (
	"context"
	"fmt"

	"drover/bucketmap"
)

var _ bucketmap.Stager = (*Store)(nil)

// Stage does all of Publish but the transaction: it reads and compares what is
// in force, makes the delta, and writes the full encoding where one is due. The
// pointer's ModifyIndex is the condition by which Commit finds out that somebody
// wrote it meanwhile.
func (s *Store) Stage(ctx context.Context, next *bucketmap.Snapshot, change bucketmap.Change) (bucketmap.Staged, error) {
	p := &publication{store: s, next: next, change: change}
	if err := p.within(ctx, "stage", p.stage); err != nil {
		return nil, err
	}
	return &stagedVersion{publication: p}, nil
}

// stagedVersion is one version of which Consul has nothing yet, but perhaps chunks that
// nothing names.
type stagedVersion struct {
	publication *publication // nil once it was committed or discarded
}

// Commit is one transaction.
func (st *stagedVersion) Commit(ctx context.Context) error {
	p := st.publication
	if p == nil {
		return fmt.Errorf("what was staged was committed or discarded before: %w", bucketmap.ErrConflict)
	}
	st.publication = nil
	return p.within(ctx, "publish", p.putInForce)
}

// Discard forgets the version. Chunks stay, as those of a publisher that died.
func (st *stagedVersion) Discard(context.Context) error {
	st.publication = nil
	return nil
}
