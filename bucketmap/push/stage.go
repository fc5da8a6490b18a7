package push

import (
	"context"

	"drover/bucketmap"
)

var _ bucketmap.Stager = (*Store)(nil)

// Stage stages next in the folder. No proxy hears of it before Commit.
func (s *Store) Stage(ctx context.Context, next *bucketmap.Snapshot, change bucketmap.Change) (bucketmap.Staged, error) {
	kept, err := s.folder.Stage(ctx, next, change)
	if err != nil {
		return nil, err
	}
	return &staged{Staged: kept, store: s, next: next}, nil
}

// staged is one version in the folder's staging. Discard is the folder's.
type staged struct {
	bucketmap.Staged
	store *Store
	next  *bucketmap.Snapshot
}

// Commit puts the version in force in the folder and sends it to every proxy, as
// Publish does.
func (st *staged) Commit(ctx context.Context) error {
	return st.store.publish(ctx, st.next, func() error { return st.Staged.Commit(ctx) })
}
