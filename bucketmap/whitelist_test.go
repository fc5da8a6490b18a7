package bucketmap

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// collisions are ids of one CRC-32: a hostile choice for a table by CRC.
func collisions(n int) []string {
	// CRC-32 is linear: flipping the same bits of two ids changes both sums
	// alike, so the sum of the flip, appended, makes them one again.
	var ids []string
	for i := range n {
		id := fmt.Appendf(nil, "hostile-%06d-", i)
		state := ^crc32.ChecksumIEEE(id)
		id = append(id, byte(state), byte(state>>8), byte(state>>16), byte(state>>24))
		ids = append(ids, string(id))
	}
	return ids
}

func TestLookupFindsExactlyWhoIsOnTheWhitelist(t *testing.T) {
	hostile := collisions(2000)
	for _, id := range hostile {
		if crc32.ChecksumIEEE([]byte(id)) != crc32.ChecksumIEEE([]byte(hostile[0])) {
			t.Fatal("the ids do not collide")
		}
	}
	for name, ids := range map[string][]string{
		"nobody":    nil,
		"one":       {"a"},
		"hostile":   hostile,
		"odd bytes": {"\x00", "\x00\x00", "\xff", " ", "é", strings.Repeat("x", UserIDMax), strings.Repeat("x", UserIDMax-1)},
		"many":      slices.Collect(maps.Keys(timingWhitelist(20_000))),
	} {
		t.Run(name, func(t *testing.T) {
			model := map[string]Datacenter{}
			for i, id := range ids {
				model[id] = Datacenter(fmt.Sprintf("dc-%d", i%7))
			}
			w, err := NewWhitelist(maps.All(model))
			must(t, err)
			checkWhitelist(t, w, model)
		})
	}
}

func checkWhitelist(t *testing.T, w *Whitelist, model map[string]Datacenter) {
	t.Helper()
	if w.Len() != len(model) {
		t.Fatalf("%d users, want %d", w.Len(), len(model))
	}
	for id, want := range model {
		if dc, ok := w.Lookup([]byte(id)); !ok || dc != want {
			t.Fatalf("%q is in %q, %v, want %q", id, dc, ok, want)
		}
		for _, other := range []string{id + "x", id[1:], "x" + id} {
			if dc, ok := w.Lookup([]byte(other)); ok != (model[other] != "") || dc != model[other] {
				t.Fatalf("%q is in %q, %v, want %q", other, dc, ok, model[other])
			}
		}
	}
	last, n := "", 0
	for id, dc := range w.All() {
		if n++; n > 1 && id <= last || model[id] != dc {
			t.Fatalf("All gives %q in %q after %q", id, dc, last)
		}
		last = id
	}
	if n != len(model) {
		t.Fatalf("All gives %d users, want %d", n, len(model))
	}
	for range w.All() {
		break // a caller may stop
	}
	again, err := NewWhitelist(w.All())
	must(t, err)
	if again.digest != w.digest {
		t.Fatal("the same users in another order have another digest")
	}
}

func timingWhitelist(n int) map[string]Datacenter {
	users := map[string]Datacenter{}
	for i := range n {
		users[fmt.Sprintf("employee-%08d", i)] = "cloud"
	}
	return users
}

func TestWhitelistChangesAreThoseOfAModel(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		model := map[string]Datacenter{}
		w := whitelistOf(t)
		for range 20 {
			next := maps.Clone(model)
			for range r.IntN(50) {
				id := fmt.Sprint(r.IntN(300))
				switch r.IntN(3) {
				case 0:
					delete(next, id)
				default:
					next[id] = Datacenter(fmt.Sprintf("dc-%d", r.IntN(3)))
				}
			}
			target, err := NewWhitelist(maps.All(next))
			must(t, err)
			changes := diffWhitelists(w, target)
			if !slices.IsSortedFunc(changes, func(a, b UserChange) int { return cmp.Compare(a.User, b.User) }) {
				t.Fatal("the changes are not in order")
			}
			if w, err = w.change(changes); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if w.digest != target.digest {
				t.Fatalf("seed %d: another digest", seed)
			}
			model = next
			checkWhitelist(t, w, model)
		}
	}
}

func TestWrongUsersAreRefused(t *testing.T) {
	for name, pairs := range map[string][]string{
		"no id":             {"a", "cloud", "", "cloud"},
		"id too long":       {strings.Repeat("x", UserIDMax+1), "cloud"},
		"no datacenter":     {"a", ""},
		"datacenter's name": {"a", "a/b"},
		"two datacenters":   {"a", "cloud", "b", "cloud", "a", "legacy"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := NewWhitelist(func(yield func(string, Datacenter) bool) {
				for i := 0; i < len(pairs) && yield(pairs[i], Datacenter(pairs[i+1])); i += 2 {
				}
			})
			var invalid *InvalidError
			if w != nil || !errors.As(err, &invalid) {
				t.Errorf("got %v, %v", w, err)
			}
		})
	}
	if w := whitelistOf(t, "a", "cloud", "b", "legacy", "a", "cloud"); w.Len() != 2 {
		t.Errorf("%d users, want 2: the same one twice is there once", w.Len())
	}
	if w, err := NewWhitelist(nil); err != nil || w.Len() != 0 {
		t.Errorf("of nothing: %v", err)
	}
	var zero Whitelist
	if _, ok := zero.Lookup([]byte("a")); ok || zero.Len() != 0 {
		t.Error("somebody is on the whitelist of nobody")
	}
}

func TestMoreUsersAreThisProcessesAlone(t *testing.T) {
	d := twoShards(t)
	d.Whitelist["emp-1"] = "cloud"
	s := mustSnapshot(t, d)
	with := s.WithUsers(whitelistOf(t, "emp-1", "legacy", "tester", "cloud"))
	for user, want := range map[string]Decision{
		"emp-1":  {Datacenter: "cloud", Reason: ReasonWhitelist}, // the map's own wins
		"tester": {Datacenter: "cloud", Reason: ReasonWhitelist},
		"alice":  {Datacenter: "legacy", Reason: ReasonBucket},
	} {
		want.Bucket, want.HasBucket = Bucket([]byte(user), s.Buckets()), true
		if got := with.Decide([]byte(user)); got != want {
			t.Errorf("%s: %+v, want %+v", user, got, want)
		}
	}
	if got := s.Decide([]byte("tester")); got.Reason != ReasonBucket {
		t.Errorf("the map without them sends tester by %s", got.Reason)
	}
	if !with.Equal(s) || with.Digest() != s.Digest() || with.Version() != s.Version() || with.WhitelistLen() != 1 ||
		len(maps.Collect(with.Whitelist())) != 1 || with.Whitelisted().Len() != 1 || !Diff(s, with).Empty() {
		t.Error("they changed the map")
	}
	if len(with.Edit().Whitelist) != 1 || mustSnapshot(t, with.Edit()).Decide([]byte("tester")).Reason != ReasonBucket {
		t.Error("Edit took them over")
	}
	if with.WithUsers(nil).Decide([]byte("tester")).Reason != ReasonBucket {
		t.Error("nil does not take them away")
	}
	user := []byte("tester")
	if n := testing.AllocsPerRun(100, func() { with.Decide(user) }); n != 0 {
		t.Errorf("Decide allocates %v times", n)
	}
}

func BenchmarkNewWhitelist(b *testing.B) {
	users := timingWhitelist(100_000)
	w, err := NewWhitelist(maps.All(users))
	must(b, err)
	sorted := slices.Collect(maps.Keys(users))
	slices.Sort(sorted)
	b.Run("100000 users in order", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := NewWhitelist(func(yield func(string, Datacenter) bool) {
				for _, id := range sorted {
					if !yield(id, "cloud") {
						return
					}
				}
			}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("All of 100000", func(b *testing.B) {
		for b.Loop() {
			for range w.All() {
			}
		}
	})
}
