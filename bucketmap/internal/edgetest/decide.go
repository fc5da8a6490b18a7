package edgetest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/internal/export"
)

// Header is the identity header of all tests.
const Header = export.DefaultHeader

// Edge exports a map, with losses, starts the program on it and returns it.
// upstreams are the addresses of the datacenters.
type Edge func(t *testing.T, s *bucketmap.Snapshot, upstreams map[bucketmap.Datacenter]string) *Program

// Upstreams starts a server for each datacenter of a map.
func Upstreams(t testing.TB, s *bucketmap.Snapshot) map[bucketmap.Datacenter]string {
	t.Helper()
	all := map[bucketmap.Datacenter]string{}
	for _, dc := range s.Datacenters() {
		all[dc] = Upstream(t, string(dc))
	}
	return all
}

// Compare sends a user to an edge and says what it did that the map does not
// say; empty for nothing. An empty user is a request without the header.
func (c *Client) Compare(t testing.TB, s *bucketmap.Snapshot, user []byte) string {
	t.Helper()
	var lines []Line
	if len(user) != 0 {
		lines = append(lines, Line{Header, user})
	}
	return Differs(t, c, s, s.Decide(user), user, lines...)
}

// Differs sends these lines and compares what came out with a decision.
func Differs(t testing.TB, c *Client, s *bucketmap.Snapshot, want bucketmap.Decision, user []byte, lines ...Line) string {
	t.Helper()
	answer, seen := c.Get(t, lines...)
	if seen == nil {
		return fmt.Sprintf("%.80q: answered %d, want %+v", user, answer.Status, want)
	}
	expected := map[string][]string{
		"Drover-Datacenter":  {string(want.Datacenter)},
		"Drover-Route":       {want.Reason.String()},
		"Drover-Map-Version": {strconv.FormatUint(uint64(s.Version()), 10)},
		"Drover-User":        nil,
		"Drover-Bucket":      nil,
	}
	if want.HasBucket {
		expected["Drover-User"] = []string{string(user)}
		expected["Drover-Bucket"] = []string{strconv.Itoa(int(want.Bucket))}
	}
	for name, values := range expected {
		got := seen.Get(name)
		if name == "Drover-User" && got == nil && strings.ContainsFunc(string(user), control) {
			continue // left out, because the edge would change it
		}
		if !slices.Equal(got, values) {
			return fmt.Sprintf("%.80q: %s %.80q, want %.80q", user, name, got, values)
		}
	}
	if seen.Upstream != string(want.Datacenter) {
		return fmt.Sprintf("%.80q: sent to %s, want %+v", user, seen.Upstream, want)
	}
	return ""
}

func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// vectors is testdata/decisions.json of package bucketmap.
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

// Replay sends every case of the vectors that a header can carry.
func Replay(t *testing.T, path string, edge Edge) {
	data, err := os.ReadFile(path)
	Must(t, err)
	var v vectors
	Must(t, json.Unmarshal(data, &v))
	sent, wrong := 0, 0
	reasons := map[string]int{}
	for i, m := range v.Maps {
		draft := bucketmap.NewDraft(m.Buckets)
		draft.Default.Datacenter = m.Default
		draft.Datacenters = []bucketmap.Datacenter{"cloud", "cloud-eu", "legacy"}
		for id, dc := range m.Whitelist {
			draft.Whitelist[id] = dc
		}
		for name, dc := range m.Shards {
			Must(t, draft.PutShard(bucketmap.Shard{Name: name, Datacenter: dc}))
		}
		for _, r := range m.Runs {
			if r.Shard != nil {
				Must(t, draft.SetHome(r.First, r.Last, *r.Shard))
			}
		}
		s, err := draft.Snapshot()
		Must(t, err)
		client := Dial(t, edge(t, s, Upstreams(t, s)).Addr)
		for j, c := range v.Cases {
			user, err := hex.DecodeString(c.UserHex)
			Must(t, err)
			if c.Map != i || !export.Carries(string(user)) {
				continue
			}
			want := bucketmap.Decision{Datacenter: c.Datacenter, Reason: reason(t, c.Reason)}
			if c.Bucket != nil {
				want.Bucket, want.HasBucket = *c.Bucket, true
			}
			var lines []Line
			if len(user) != 0 {
				lines = append(lines, Line{Header, user})
			}
			sent++
			reasons[c.Reason]++
			if differs := Differs(t, client, s, want, user, lines...); differs != "" {
				wrong++
				t.Errorf("case %d: %s", j, differs)
			}
		}
	}
	t.Logf("%d of %d cases sent, %d wrong, %v; no header can carry the other %d (NUL, CR, LF, or a blank at an end)",
		sent, len(v.Cases), wrong, reasons, len(v.Cases)-sent)
	for _, r := range bucketmap.Reasons() {
		// The vectors' bad users are random bytes, and none of them fits into a header.
		if reasons[r.String()] == 0 && r != bucketmap.ReasonBadUser {
			t.Errorf("no case with reason %s was sent", r)
		}
	}
}

func reason(t testing.TB, word string) bucketmap.Reason {
	t.Helper()
	for _, r := range bucketmap.Reasons() {
		if r.String() == word {
			return r
		}
	}
	t.Fatalf("no reason %q", word)
	return 0
}
