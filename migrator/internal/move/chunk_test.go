package move

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// bucketsFrom are n buckets from first on.
func bucketsFrom(first, n bucketmap.BucketID) Buckets {
	var b Buckets
	for i := range n {
		b = append(b, first+i)
	}
	return b
}

func TestAChunkIsSizedByTheTimeThatTheOneBeforeTook(t *testing.T) {
	const want = 50 * time.Millisecond
	for _, c := range []struct {
		size, copied int
		took         time.Duration
		next         int
	}{
		{1000, 1000, 10 * time.Millisecond, 2000},
		{1000, 1000, 50 * time.Millisecond, 1000},
		{1000, 1000, 100 * time.Millisecond, 500},
		{1000, 10, 10 * time.Millisecond, 1000},  // the end of a segment says nothing
		{1000, 10, 100 * time.Millisecond, 500},  // but a slow one does
		{1000, 1000, 5 * time.Millisecond, 4000}, // next to nothing
		{chunkMin, chunkMin, time.Second, chunkMin},
		{chunkMax, chunkMax, 0, chunkMax},
	} {
		if next := nextChunk(c.size, c.size, c.copied, c.took, want); next != c.next {
			t.Errorf("%d rows of %d in %s: next %d, want %d", c.copied, c.size, c.took, next, c.next)
		}
	}
}

func TestAChunkThatWasReadBeforeTheSizeChangedDoesNotUndoTheChange(t *testing.T) {
	const want = 50 * time.Millisecond
	for _, c := range []struct {
		size, had int
		took      time.Duration
		next      int
	}{
		{4000, 1000, 20 * time.Millisecond, 4000},
		{4000, 1000, want, 4000},
		{500, 4000, 100 * time.Millisecond, 500},
		{4000, 1000, 100 * time.Millisecond, 500}, // too slow, and was smaller still
		{500, 4000, 20 * time.Millisecond, 8000},
	} {
		if next := nextChunk(c.size, c.had, c.had, c.took, want); next != c.next {
			t.Errorf("%d rows in %s when the size is %d: next %d, want %d", c.had, c.took, c.size, next, c.next)
		}
	}
}

func TestEveryRowIsReadOnceWhateverTheIndexesAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	source, err := w.shards.Primary(ctx, "alpha")
	must(t, err)
	buckets := Buckets{1, 2, 3, 7, 9, 20, 21, 63}
	const bucket = "CRC32(user_id) % 64"
	for name, c := range map[string]struct {
		keys    string
		sharded fence.Sharded
		index   string
		ordered bool
	}{
		"an index of the bucket":             {"PRIMARY KEY (user_id, n), KEY b (bucket)", fence.Sharded{BucketColumn: "bucket"}, "b", true},
		"a primary key that begins with it":  {"PRIMARY KEY (bucket, user_id, n)", fence.Sharded{BucketColumn: "bucket"}, "PRIMARY", true},
		"a primary key with it in the end":   {"PRIMARY KEY (n, user_id, bucket), KEY b (bucket)", fence.Sharded{BucketColumn: "bucket"}, "b", true},
		"an index that goes on with the key": {"PRIMARY KEY (user_id, n), KEY b (bucket, user_id)", fence.Sharded{BucketColumn: "bucket"}, "b", true},
		"the better of two":                  {"PRIMARY KEY (user_id, n), KEY a (bucket, v), KEY b (bucket)", fence.Sharded{BucketColumn: "bucket"}, "b", true},
		"an index that goes on otherwise":    {"PRIMARY KEY (user_id, n), KEY a (bucket, v)", fence.Sharded{BucketColumn: "bucket"}, "a", false},
		"no index of the bucket":             {"PRIMARY KEY (user_id, n)", fence.Sharded{BucketColumn: "bucket"}, "PRIMARY", false},
		"no bucket":                          {"PRIMARY KEY (user_id, n), KEY b (bucket)", fence.Sharded{UserColumn: "user_id"}, "PRIMARY", false},
	} {
		c.sharded.Name = "routes"
		w.exec(w.alpha, "DROP TABLE IF EXISTS routes")
		w.exec(w.alpha, "CREATE TABLE routes (user_id VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, n INT NOT NULL, bucket INT UNSIGNED NOT NULL, v INT, "+c.keys+")")
		w.exec(w.alpha, "INSERT INTO routes SELECT user_id, n, "+bucket+", seq % 3 FROM (SELECT CONCAT('u', seq DIV 2) AS user_id, seq AS n, seq FROM seq_1_to_400) AS s")
		table, err := source.Describe(ctx, c.sharded, worldBuckets)
		must(t, err)
		on, err := routeOf(ctx, source, table, buckets)
		must(t, err)
		if on.index != c.index || on.ordered != c.ordered {
			t.Errorf("%s: by %s, ordered %t", name, on.index, on.ordered)
		}
		want := strings.Split(w.text(w.alpha, "SELECT GROUP_CONCAT(CONCAT(user_id, ',', n) ORDER BY 1 SEPARATOR ' ') FROM routes WHERE bucket IN ("+bucketList(buckets)+")"), " ")
		for _, size := range []int{1, 3, 1000} {
			got := readAll(t, on, source, size)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s, %d a chunk: %d rows %.100v, want %d %.100v", name, size, len(got), got, len(want), want)
			}
		}
		if c.ordered {
			if plan := w.plan(on); strings.Contains(plan, "filesort") {
				t.Errorf("%s: the server sorts: %s", name, plan)
			}
		}
	}
}

// readAll reads a route to its end, as a copy that dies after each chunk does:
// with nothing but the cursor.
func readAll(t *testing.T, on *route, source *database.Server, size int) []string {
	t.Helper()
	var got []string
	at := cursor{}
	for at.Table == 0 {
		c, err := on.read(t.Context(), source, at, size)
		must(t, err)
		rows, err := rowsOf(on.table, c.text)
		must(t, err)
		for _, row := range rows {
			got = append(got, fmt.Sprintf("%s,%s", row[0], row[1]))
		}
		at = c.next
	}
	return got
}

// plan is how the server goes through a chunk in the middle.
func (w *world) plan(on *route) string {
	w.t.Helper()
	where, args := on.where(cursor{Segment: 2, After: make([][]byte, len(on.table.Primary))})
	for i := range args {
		args[i] = []byte("1")
	}
	source, err := w.shards.Primary(w.t.Context(), "alpha")
	must(w.t, err)
	rows, err := source.DB.QueryContext(w.t.Context(), "EXPLAIN "+on.head+where+on.order+"100", args...)
	must(w.t, err)
	defer rows.Close()
	var words []string
	for rows.Next() {
		values := make([]*string, 10)
		scan := make([]any, len(values))
		for i := range values {
			scan[i] = &values[i]
		}
		must(w.t, rows.Scan(scan...))
		for _, v := range values {
			if v != nil {
				words = append(words, *v)
			}
		}
	}
	must(w.t, rows.Err())
	return strings.Join(words, " ")
}
