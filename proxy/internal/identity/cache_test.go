package identity

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"
)

// size counts a cache's verdicts.
func size(c *cache) (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.mu.bySum)
		s.mu.Unlock()
	}
	return n
}

func sumOf(n int) (s sum) {
	s[0] = byte(n)
	binary.BigEndian.PutUint64(s[8:], uint64(n))
	return s
}

func TestCacheKeepsItsBoundAndWhatWasAskedForLast(t *testing.T) {
	const bound = 4 * cacheShards
	c, keys, now := newCache(bound), &keySet{}, time.Unix(1000, 0)
	good := verdict{user: "ann", keys: keys, until: now.Add(time.Minute)}
	favourite := sumOf(0)
	c.put(favourite, good, now)
	for n := 1; n < 100*bound; n++ {
		c.put(sumOf(n), good, now)
		if _, ok := c.get(favourite, keys, now); !ok {
			t.Fatalf("what is asked for all the time was forgotten after %d others", n)
		}
	}
	if n := size(c); n != bound {
		t.Fatalf("%d verdicts are remembered, want %d", n, bound)
	}
	if _, ok := c.get(sumOf(cacheShards), keys, now); ok {
		t.Fatal("the oldest is still there")
	}
	for i := range c.shards {
		if s := &c.shards[i]; s.mu.recent.Len() != len(s.mu.bySum) {
			t.Fatal("the list and the map differ")
		}
	}
	c.clear()
	if n := size(c); n != 0 {
		t.Fatalf("%d verdicts after clear", n)
	}
	c.put(favourite, good, now)
	if _, ok := c.get(favourite, keys, now); !ok {
		t.Fatal("nothing is remembered after clear")
	}
}

func TestCacheAnswersForTheSameKeysUntilTheVerdictIsOver(t *testing.T) {
	c, keys, now := newCache(cacheShards), &keySet{count: 1}, time.Unix(1000, 0)
	v := verdict{user: "ann", keys: keys, until: now.Add(time.Second)}
	c.put(sumOf(1), v, now)
	c.put(sumOf(1), v, now)
	if got, ok := c.get(sumOf(1), keys, now.Add(time.Second-1)); !ok || got.user != "ann" || size(c) != 1 {
		t.Fatalf("got %v, %v, %d verdicts", got, ok, size(c))
	}
	if _, ok := c.get(sumOf(1), keys, v.until); ok || size(c) != 0 {
		t.Fatal("a verdict outlived its time")
	}
	c.put(sumOf(1), v, now)
	if _, ok := c.get(sumOf(1), &keySet{count: 1}, now); ok || size(c) != 0 {
		t.Fatal("a verdict outlived its keys")
	}
	c.put(sumOf(1), v, v.until)
	if size(c) != 0 {
		t.Fatal("a verdict was put that is over")
	}
}

func TestACacheOfNoneRemembersNothing(t *testing.T) {
	i := newIssuer(t)
	for _, c := range []int{-1, -1000, 0, 1} {
		f := i.finder(t, nil, func(s *JWTSource) { s.Cache = c })
		v := f.places[0].verifier
		for _, user := range []string{"ann", "ann", "bob"} {
			if got := userOfToken(t, f, i.sign(t, "EdDSA", "ed", claims(user))); got != user {
				t.Fatalf("cache %d: got %q, want %q", c, got, user)
			}
		}
		if n := size(v.verified); (n == 0) != (c < 0) {
			t.Errorf("cache %d: %d are remembered", c, n)
		}
	}
	for _, c := range []struct{ max, want int }{{-1, 0}, {0, 0}, {1, 64}, {64, 64}, {65, 128}} {
		one, keys, now := newCache(c.max), &keySet{}, time.Unix(1000, 0)
		for n := range 1000 {
			one.put(sumOf(n), verdict{keys: keys, until: now.Add(1)}, now)
		}
		if n := size(one); n != c.want {
			t.Errorf("newCache(%d): %d are remembered, want %d", c.max, n, c.want)
		}
	}
}

func TestMadeUpTokensPushNoGoodOneOut(t *testing.T) {
	i := newIssuer(t)
	f := i.finder(t, nil, nil)
	token := i.sign(t, "EdDSA", "ed", claims("ann"))
	userOfToken(t, f, token)
	v := f.places[0].verifier
	before := size(v.verified)
	for n := range 2000 {
		v.ask([]byte(raw(`{"alg":"RS256","kid":"x"}`, string(rune('a'+n)), "x")))
	}
	if before != 1 || size(v.verified) != 1 || size(v.refused) == 0 || size(v.refused) > refusedMax {
		t.Fatalf("%d verified, %d refused are remembered", size(v.verified), size(v.refused))
	}
}

// TestFindMayBeCalledByManyWhileKeysChange is for the race detector, and
// proves that nobody gets another's user.
func TestFindMayBeCalledByManyWhileKeysChange(t *testing.T) {
	i := newIssuer(t)
	f := i.finder(t, nil, nil)
	users := []string{"ann", "bob", "cid"}
	tokens := make([]string, len(users))
	for n, u := range users {
		tokens[n] = i.sign(t, "EdDSA", "ed", claims(u))
	}
	var all sync.WaitGroup
	for n := range users {
		all.Go(func() {
			var found Found
			r := Request{Fields: fields("Authorization", "Bearer "+tokens[n])}
			for range 300 {
				if err := f.Find(&r, &found); err != nil || string(found.User) != users[n] {
					t.Errorf("got %q, %v; want %q", found.User, err, users[n])
					return
				}
			}
		})
	}
	for n := range 10 {
		i.addEd(t, string(rune('a'+n)))
		if err := f.Load(t.Context()); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
}
