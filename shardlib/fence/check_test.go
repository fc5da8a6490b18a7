package fence

import (
	"database/sql"
	"errors"
	"math/rand/v2"
	"testing"

	"drover/bucketmap"
)

func bucketOf(user []byte) bucketmap.BucketID { return bucketmap.Bucket(user, testBuckets) }

func TestWritePassesOnlyWhereBothRowsAreActive(t *testing.T) {
	s := newShard(t)
	for _, c := range []struct {
		name          string
		shard, bucket string // states; "" is no row
		write, read   bool
		wantState     State
		wantShard     bool
	}{
		{"both active", "active", "active", true, true, "", false},
		{"bucket frozen", "active", "frozen", false, true, Frozen, false},
		{"bucket moved", "active", "moved", false, false, Moved, false},
		{"bucket incoming", "active", "incoming", false, false, Incoming, false},
		{"bucket unknown", "active", "thawing", false, false, "thawing", false},
		{"bucket empty", "active", "''", false, false, "''", false},
		{"bucket missing", "active", "", false, false, "", false},
		{"shard frozen", "frozen", "active", false, true, Frozen, true},
		{"shard moved", "moved", "active", false, false, Moved, true},
		{"shard missing", "", "active", false, false, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.must(s.root, "DELETE FROM "+Table)
			if c.shard != "" {
				s.must(s.root, "INSERT INTO "+Table+" (bucket, state, epoch, server_id) VALUES (-1, ?, 3, @@server_id)", c.shard)
			}
			if c.bucket != "" {
				s.must(s.root, "INSERT INTO "+Table+" (bucket, state, epoch) VALUES (5, ?, 4)", c.bucket)
			}
			for _, k := range []struct {
				name string
				pass bool
				do   func(tx *sql.Tx) (Seen, error)
			}{
				{"write", c.write, func(tx *sql.Tx) (Seen, error) { return CheckWrite(t.Context(), tx, 5) }},
				{"read", c.read, func(tx *sql.Tx) (Seen, error) { return CheckRead(t.Context(), tx, 5) }},
			} {
				tx := s.begin(s.app)
				seen, err := k.do(tx)
				tx.Rollback()
				if k.pass {
					if err != nil || seen != (Seen{Epoch: 4, ShardEpoch: 3}) {
						t.Errorf("%s: got %+v, %v", k.name, seen, err)
					}
					continue
				}
				var refused *RefusedError
				if !errors.Is(err, ErrRefused) || !errors.As(err, &refused) {
					t.Fatalf("%s: got %v, want a refusal", k.name, err)
				}
				if refused.State != c.wantState || refused.Shard != c.wantShard || refused.Bucket != 5 {
					t.Errorf("%s: got %+v", k.name, refused)
				}
			}
		})
	}
}

func TestReplicaRefusesByTheServerID(t *testing.T) {
	s := newShard(t)
	s.must(s.root, "UPDATE "+Table+" SET server_id = server_id + 1 WHERE bucket = -1")
	tx := s.begin(s.app)
	for _, check := range []func() (Seen, error){
		func() (Seen, error) { return CheckWrite(t.Context(), tx, 5) },
		func() (Seen, error) { return CheckRead(t.Context(), tx, 5) },
	} {
		var refused *RefusedError
		if _, err := check(); !errors.As(err, &refused) || !refused.Shard || refused.State != Moved {
			t.Errorf("got %v", err)
		}
	}
}

func TestFreezeWaitsForAnOpenWriter(t *testing.T) {
	s := newShard(t)
	writer := s.begin(s.app)
	if _, err := CheckWrite(t.Context(), writer, 5); err != nil {
		t.Fatal(err)
	}
	frozen := make(chan error, 1)
	go func() {
		frozen <- Transition(t.Context(), s.drover, Change{Buckets: []bucketmap.BucketID{5}, From: Active, To: Frozen,
			ToToken: Token{"m", 1}})
	}()
	s.waiting("UPDATE drover_fence")
	if err := writer.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-frozen; err != nil {
		t.Fatal(err)
	}
	late := s.begin(s.app)
	if _, err := CheckWrite(t.Context(), late, 5); !errors.Is(err, ErrRefused) {
		t.Fatalf("got %v", err)
	}
}

func TestWriterWaitsForAFreezeAndIsRefused(t *testing.T) {
	s := newShard(t)
	mover := s.begin(s.drover)
	if err := Transition(t.Context(), mover, Change{Buckets: []bucketmap.BucketID{5}, From: Active, To: Frozen}); err != nil {
		t.Fatal(err)
	}
	writer, checked := s.begin(s.app), make(chan error, 1)
	go func() {
		_, err := CheckWrite(t.Context(), writer, 5)
		checked <- err
	}()
	s.waiting("LOCK IN SHARE MODE")
	if err := mover.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-checked; !errors.Is(err, ErrRefused) {
		t.Fatalf("got %v", err)
	}
}

func TestWriterOfOneBucketDoesNotLockAnother(t *testing.T) {
	s := newShard(t)
	writer := s.begin(s.app)
	if _, err := CheckWrite(t.Context(), writer, 5); err != nil {
		t.Fatal(err)
	}
	// All the others at once, the neighbours too: it would wait for any lock.
	var others []bucketmap.BucketID
	for b := range bucketmap.BucketID(testBuckets) {
		if b != 5 {
			others = append(others, b)
		}
	}
	err := TransitionWithin(t.Context(), s.drover, "SET STATEMENT max_statement_time=5 FOR ",
		Change{Buckets: others, From: Active, To: Frozen})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBucketIsTheSameInSQL(t *testing.T) {
	s := newShard(t)
	const seed = 20261121
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 300 {
		user := make([]byte, 1+random.IntN(bucketmap.UserIDMax))
		for j := range user {
			user[j] = byte(random.Uint32())
		}
		buckets := 1 + random.Uint32N(bucketmap.BucketsMax)
		if i == 0 {
			buckets = bucketmap.BucketsMax
		}
		var got bucketmap.BucketID
		if err := s.app.QueryRowContext(t.Context(), "SELECT CRC32(?) % ?", user, buckets).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if want := bucketmap.Bucket(user, buckets); got != want {
			t.Fatalf("seed %d: user %x of %d buckets: SQL says %d, Go %d", seed, user, buckets, got, want)
		}
	}
}
