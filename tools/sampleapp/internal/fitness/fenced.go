package fitness

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"drover/bucketmap"
	"drover/shardlib"
)

// Fenced is the application over shardlib, as an application should be.
type Fenced struct{ Library *shardlib.Library }

// profileTTL bounds how long a profile is cached that nobody changes.
const profileTTL = 10 * time.Minute

// Add applies a request, or finds what it was answered the first time.
func (f Fenced) Add(ctx context.Context, user bucketmap.UserID, r Request) (Added, error) {
	var a Added
	err := f.Library.Update(ctx, user, func(ctx context.Context, tx *shardlib.Tx) (err error) {
		a.Shard = tx.Home().Shard
		tx.Invalidate(ProfileKey)
		a.Total, err = Add(ctx, tx, user, tx.Home().Bucket, r)
		return err
	})
	if errors.Is(err, ErrDuplicate) {
		a.Duplicate = true
		err = f.Library.View(ctx, user, func(ctx context.Context, tx *shardlib.Tx) (err error) {
			a.Total, err = TotalOf(ctx, tx, user, r.ID)
			return err
		})
	}
	return a, err
}

// Day reads a day from the database.
func (f Fenced) Day(ctx context.Context, user bucketmap.UserID, day string) (d Day, err error) {
	err = f.Library.View(ctx, user, func(ctx context.Context, tx *shardlib.Tx) (err error) {
		d, err = ReadDay(ctx, tx, user, day)
		return err
	})
	return d, err
}

// Profile reads a profile by way of the cache, as JSON.
func (f Fenced) Profile(ctx context.Context, user bucketmap.UserID) (json.RawMessage, error) {
	return f.Library.Cached(ctx, user, ProfileKey, profileTTL, func(ctx context.Context, tx *shardlib.Tx) ([]byte, error) {
		p, err := ReadProfile(ctx, tx, user)
		if err != nil {
			return nil, err
		}
		return json.Marshal(p)
	})
}
