package shardlib

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/tools/testservers"
)

// listText writes a list in which alpha has an address, and beta is or is not.
func listText(w *world, alpha string, beta bool) []byte {
	text := fmt.Sprintf("database: %s\nshards:\n  alpha: {legacy: %q}\n", w.database, alpha)
	if beta {
		text += fmt.Sprintf("  beta: {cloud: %q}\n", servers.beta.Addr())
	}
	return []byte(text)
}

func replaceFile(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestAShardListIsReloadedAndNoTransactionFails(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "shards.yaml")
	replaceFile(t, path, listText(w, servers.alpha.Addr(), false))
	l := w.open("legacy", func(c *Config) { c.Shards, c.ShardsFile = ShardList{}, path })

	// The same server by another name: old and new connections are both right.
	port := servers.alpha.Addr()[len("127.0.0.1"):]
	var stop atomic.Bool
	var done atomic.Int64
	var writers sync.WaitGroup
	for i := range 4 {
		user := bucketmap.UserID(fmt.Sprint("user", i))
		writers.Go(func() {
			for !stop.Load() {
				if err := l.Update(t.Context(), user, add(user)); err != nil {
					t.Errorf("while the list changed: %v", err)
					return
				}
				done.Add(1)
			}
		})
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	for i := range 6 {
		host := []string{"localhost", "127.0.0.1"}[i%2]
		replaceFile(t, path, listText(w, host+port, i > 3))
		until("the list did not come into force", func() bool { a, _ := l.Shards().Address("alpha", "legacy"); return a == host+port })
		before := done.Load()
		until("nobody writes", func() bool { return done.Load() > before || t.Failed() })
	}
	if _, ok := l.Shards().Address("beta", "cloud"); !ok {
		t.Error("the shard that was added is not there")
	}
	stop.Store(true)
	writers.Wait()
	l.pools.mu.RLock()
	if n := len(l.pools.mu.retired); n != 0 {
		t.Errorf("%d old pools are left with nobody using them", n)
	}
	l.pools.mu.RUnlock()

	refused := count(t, l.metrics.lists, "refused")
	replaceFile(t, path, []byte("database: app\nshards: {"))
	until("a broken list was not refused", func() bool { return count(t, l.metrics.lists, "refused") > refused })
	if err := l.Update(t.Context(), alice, add(alice)); err != nil {
		t.Error(err)
	}
}

func TestALongTransactionOutlivesItsServersPlaceInTheList(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	err := l.Update(t.Context(), alice, func(ctx context.Context, tx *Tx) error {
		list := w.shards
		list.Shards = map[bucketmap.ShardName]map[bucketmap.Datacenter]string{
			"alpha": {"legacy": "localhost" + servers.alpha.Addr()[len("127.0.0.1"):]}, "beta": {"cloud": servers.beta.Addr()}}
		if err := l.SetShards(list); err != nil {
			return err
		}
		if err := l.Update(ctx, "bob", add("bob")); err != nil { // by the new address
			return err
		}
		return add(alice)(ctx, tx)
	})
	if err != nil || w.value(w.alpha, alice) != 1 || w.value(w.alpha, "bob") != 1 {
		t.Fatal(err, w.value(w.alpha, alice), w.value(w.alpha, "bob"))
	}
}

func TestAListWithoutAServerInUseIsRefused(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	list := w.shards
	list.Shards = map[bucketmap.ShardName]map[bucketmap.Datacenter]string{"beta": {"cloud": servers.beta.Addr()}}
	if err := l.SetShards(list); !errors.Is(err, ErrShards) {
		t.Errorf("got %v", err)
	}
	list.Shards = nil
	if err := l.SetShards(list); !errors.Is(err, ErrShards) {
		t.Errorf("got %v", err)
	}
	if err := l.Update(t.Context(), alice, add(alice)); err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Config{Source: w.maps, Datacenter: "legacy", Account: Account{User: testservers.AccountApp},
		Shards: w.shards, ShardsFile: "x"}); err == nil {
		t.Error("a list and a file")
	}
}
