package worker_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/worker"
)

// vectors is bucketmap's testdata/decisions.json.
type vectors struct {
	Maps []struct {
		Buckets uint32
		Default bucketmap.Datacenter
		Shards  map[bucketmap.ShardName]bucketmap.Datacenter
		Runs    []struct {
			First, Last bucketmap.BucketID
			Shard       *bucketmap.ShardName
		}
		Whitelist map[string]bucketmap.Datacenter
	}
	Cases []struct {
		Map        int
		UserHex    string `json:"user_hex"`
		Bucket     *bucketmap.BucketID
		Datacenter bucketmap.Datacenter
		Reason     string
	}
}

func (v *vectors) snapshot(t *testing.T, i int) *bucketmap.Snapshot {
	t.Helper()
	m := v.Maps[i]
	d := bucketmap.NewDraft(m.Buckets)
	d.Version = bucketmap.Version(i + 1)
	d.Default.Datacenter = m.Default
	d.Whitelist = m.Whitelist
	for name, datacenter := range m.Shards {
		must(t, d.PutShard(bucketmap.Shard{Name: name, Datacenter: datacenter}))
	}
	names := []bucketmap.Datacenter{m.Default}
	for _, datacenter := range m.Whitelist {
		names = append(names, datacenter)
	}
	for _, datacenter := range names {
		if !slices.Contains(d.Datacenters, datacenter) {
			d.Datacenters = append(d.Datacenters, datacenter)
		}
	}
	for _, r := range m.Runs {
		if r.Shard != nil {
			must(t, d.SetHome(r.First, r.Last, *r.Shard))
		}
	}
	s, err := d.Snapshot()
	must(t, err)
	return s
}

// knowable says whether a Worker can know the id: printable ASCII, which a
// header carries whole.
func knowable(user string) bool {
	for _, c := range []byte(user) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return user == strings.TrimSpace(user)
}

func TestDecisionsAreThoseOfTheVectors(t *testing.T) {
	data, err := os.ReadFile("../testdata/decisions.json")
	must(t, err)
	var v vectors
	must(t, json.Unmarshal(data, &v))
	if len(v.Cases) != 600 {
		t.Fatalf("%d cases, want 600", len(v.Cases))
	}
	asked := map[string]int{}
	for i := range v.Maps {
		s := v.snapshot(t, i)
		r := start(t, s, worker.Options{Identity: []worker.Source{{Query: "user"}, {Cookie: "uid"}}}, nil)
		for n, c := range v.Cases {
			if c.Map != i {
				continue
			}
			id, err := hex.DecodeString(c.UserHex)
			must(t, err)
			user, reason, bucket := string(id), c.Reason, ""
			want := c.Datacenter
			if c.Bucket != nil {
				bucket = fmt.Sprint(*c.Bucket)
			}
			if !knowable(user) {
				want, reason, bucket = s.Default().Datacenter, "bad_user", ""
			}
			told := user
			if bucket == "" {
				told = ""
			}
			line := fmt.Sprintf("%s %s user=%q bucket=%s version=%d", want, reason, told, bucket, s.Version())
			what := fmt.Sprintf("case %d, %q", n, user)
			r.get("/x?user="+url.QueryEscape(user)).want(t, what+" by query", line)
			asked[reason]++
			if knowable(user) && !strings.ContainsAny(user, ";") && user != "" {
				r.get("/x", "Cookie", "a=b; uid="+user).want(t, what+" by cookie", line)
			}
		}
	}
	for _, reason := range bucketmap.Reasons() {
		if asked[reason.String()] == 0 {
			t.Errorf("no case has reason %s", reason)
		}
	}
}

// randomMap has every bucket on a shard at random, some on none.
func randomMap(t testing.TB, r *rand.Rand, buckets uint32, shards, datacenters, users int) *bucketmap.Draft {
	t.Helper()
	d := bucketmap.NewDraft(buckets)
	for i := range datacenters {
		d.Datacenters = append(d.Datacenters, bucketmap.Datacenter(fmt.Sprintf("dc%03d", i)))
	}
	d.Default.Datacenter = d.Datacenters[r.IntN(datacenters)]
	for i := range shards {
		must(t, d.PutShard(bucketmap.Shard{Name: bucketmap.ShardName(fmt.Sprintf("s%d", i)), Datacenter: d.Datacenters[r.IntN(datacenters)]}))
	}
	names := make([]bucketmap.ShardName, shards)
	for i := range names {
		names[i] = bucketmap.ShardName(fmt.Sprintf("s%d", i))
	}
	for b := range bucketmap.BucketID(buckets) {
		name := names[r.IntN(shards)]
		if r.IntN(20) == 0 {
			name = ""
		}
		if err := d.SetHome(b, b, name); err != nil {
			t.Fatal(err)
		}
	}
	for range users {
		d.Whitelist[fmt.Sprintf("%x", r.Uint64()>>r.IntN(60))] = d.Datacenters[r.IntN(datacenters)]
	}
	return d
}

// With DROVER_SOAK=1 the whitelist is ten times as long.
func TestLargestMapDecidesForThousandUsersAsHere(t *testing.T) {
	whitelist := rounds(10_000, 100_000)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	d := randomMap(t, random, bucketmap.BucketsMax, 200, 3, whitelist)
	d.Whitelist["J\u00f6rg"] = d.Datacenters[0]
	d.Holds = []bucketmap.Hold{{Shard: "s7", Move: "m", Until: time.Now().Add(time.Hour).Truncate(time.Millisecond)}}
	s, err := d.Snapshot()
	must(t, err)
	begun := time.Now()
	r, bundle := startBuilt(t, s, worker.Options{Identity: []worker.Source{{Query: "user"}}})
	t.Logf("%d bytes, %d compressed, of at most %d", bundle.Bytes, bundle.Compressed, bundle.Limit)
	if bundle.LeftOut != 1 {
		t.Errorf("%d users left out, want one", bundle.LeftOut)
	}
	t.Logf("exported and started in %v", time.Since(begun))
	users := make([]string, 0, 1000)
	for user := range s.Whitelist() {
		if random.IntN(whitelist/170) == 0 {
			users = append(users, user)
		}
	}
	for len(users) < 1000 {
		users = append(users, fmt.Sprintf("user-%d", random.Uint64()))
	}
	held := 0
	for _, user := range users {
		decision := s.Decide([]byte(user))
		answer, text := r.do(http.MethodGet, "/x?user="+url.QueryEscape(user), "")
		if _, ok := s.HoldOf(decision.Bucket); ok {
			held++
			if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
				t.Errorf("%q is held: %s %s", user, answer.Status, text)
			}
			continue
		}
		r.read(answer, text).want(t, user, told(s, user, decision))
	}
	if held == 0 {
		t.Error("nobody was held")
	}
}

func TestMoreDatacentersAndHoldsThanAByteCanTellApart(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	d := randomMap(t, random, 1000, 400, 300, 100)
	now := time.Now().Truncate(time.Millisecond)
	for b := bucketmap.BucketID(0); b < 700; b += 2 {
		d.Holds = append(d.Holds, bucketmap.Hold{First: b, Last: b, Move: "m", Until: now.Add(time.Minute + time.Duration(b)*time.Millisecond)})
	}
	s, err := d.Snapshot()
	must(t, err)
	r := start(t, s, worker.Options{Identity: []worker.Source{{Query: "user"}}}, nil)
	for i := range 400 {
		user := fmt.Sprintf("user-%d", i)
		decision := s.Decide([]byte(user))
		answer, text := r.do(http.MethodGet, "/?user="+user, "")
		if _, ok := s.HoldOf(decision.Bucket); ok != (answer.StatusCode == http.StatusServiceUnavailable) {
			t.Errorf("%s, held %v: %s", user, ok, answer.Status)
		} else if !ok {
			r.read(answer, text).want(t, user, told(s, user, decision))
		}
	}
}
