package schema

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"drover/bucketmap"
	"drover/shardlib/fence"
)

// seedChunk bounds one INSERT: 1,000 rows of at most about 900 bytes, far below
// any max_allowed_packet.
const seedChunk = 1000

// Seed writes a profile for each user, where there is none yet. The database is
// one shard's: the caller chooses the users whose home it is (Users).
func Seed(ctx context.Context, db fence.Querier, users iter.Seq[bucketmap.UserID]) error {
	var b strings.Builder
	n := 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		if _, err := db.ExecContext(ctx, b.String()); err != nil {
			return fmt.Errorf("seed profiles: %w", err)
		}
		b.Reset()
		n = 0
		return nil
	}
	for user := range users {
		if n == 0 {
			b.WriteString("INSERT IGNORE INTO profile (user_id, name, lifetime_steps, updates) VALUES ")
		} else {
			b.WriteByte(',')
		}
		// Hexadecimal: a user id is any bytes, and needs no quoting so.
		fmt.Fprintf(&b, "(x'%x',CONCAT('User ', x'%x'),0,0)", string(user), nameOf(user))
		if n++; n == seedChunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// nameMax keeps a name within its column.
const nameMax = 90

func nameOf(user bucketmap.UserID) string {
	name := []rune(user.String())
	return string(name[:min(len(name), nameMax)])
}

// Users yields user ids "1" to count, those alone whose home is the shard by
// the map.
func Users(s *bucketmap.Snapshot, shard bucketmap.ShardName, count int) iter.Seq[bucketmap.UserID] {
	return func(yield func(bucketmap.UserID) bool) {
		for i := 1; i <= count; i++ {
			user := fmt.Sprint(i)
			home, ok := s.Home(bucketmap.Bucket([]byte(user), s.Buckets()))
			if ok && home.Name == shard && !yield(bucketmap.UserID(user)) {
				return
			}
		}
	}
}
