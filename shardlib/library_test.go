package shardlib

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drover/bucketmap"
	"drover/bucketmap/file"
)

func TestOpenWaitsForTheFirstMap(t *testing.T) {
	w := newWorld(t)
	first := w.maps.get()
	w.maps = newMemory()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := Config{Source: w.maps, Shards: w.shards, Datacenter: "legacy", Account: Account{User: "app"}}
	if _, err := Open(ctx, c); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, bucketmap.ErrNoMap) {
		t.Fatalf("got %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { w.maps.publish(first) })
	if v := w.open("legacy").MapVersion(); v != 1 {
		t.Fatalf("version %d", v)
	}
}

func TestAtLeastWaitsForTheMap(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	if err := l.AtLeast(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := l.AtLeast(short, 3); !errors.Is(err, ErrMapBehind) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- l.AtLeast(t.Context(), 3) }()
	w.publish(func(*bucketmap.Draft) {})
	if err := l.AtLeast(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("version 2 was enough for 3: %v", err)
	default:
	}
	w.publish(func(*bucketmap.Draft) {})
	if err := <-done; err != nil || l.MapVersion() != 3 {
		t.Fatal(l.MapVersion(), err)
	}
}

func TestMapIsReloadedFromAFileStore(t *testing.T) {
	w := newWorld(t)
	store, err := file.Open(t.TempDir(), file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	if err := store.Publish(t.Context(), w.maps.get(), bucketmap.Change{Who: "test", Why: "first"}); err != nil {
		t.Fatal(err)
	}
	l := w.open("legacy", func(c *Config) { c.Source = store })
	defer func() { _ = l.Close() }() // before the store; again is no harm
	next, err := bucketmap.Update(t.Context(), store, bucketmap.Change{Who: "test", Why: "move"}, func(d *bucketmap.Draft) error {
		return d.SetHome(0, testBuckets-1, "beta")
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.AtLeast(ctx, next.Version()); err != nil {
		t.Fatal(err)
	}
	if home, err := l.Home(alice); err != nil || home.Shard != "beta" {
		t.Fatal(home, err)
	}
}

func TestMapThatMayNotReplaceIsRefused(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	w.publish(func(*bucketmap.Draft) {})
	good := w.publish(func(*bucketmap.Draft) {})
	if err := l.AtLeast(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	older := good.Edit()
	older.Version = 2
	old, err := older.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	d := bucketmap.NewDraft(testBuckets * 2)
	d.Version, d.Default, d.Datacenters = 9, bucketmap.Default{Datacenter: "legacy"}, []bucketmap.Datacenter{"legacy"}
	wide, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	l.accept(old, nil)
	l.accept(wide, nil)
	l.accept(nil, errors.New("unreadable"))
	l.accept(good, nil) // the same again is no refusal
	if l.Map() != good {
		t.Fatalf("version %d is in force", l.MapVersion())
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(l.metrics.mapRefused)
	families, err := registry.Gather()
	if err != nil || families[0].Metric[0].Counter.GetValue() != 3 {
		t.Fatal(families, err)
	}
}

// broken is a source whose watch ends at once, the first times.
type broken struct {
	*memory
	ends int
}

func (b *broken) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	if b.ends--; b.ends >= 0 {
		return errors.New("the store is away")
	}
	return b.memory.Watch(ctx, changed)
}

func TestWatchThatEndsIsBegunAgain(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy", func(c *Config) { c.Source = &broken{w.maps, 2} })
	if l.MapVersion() != 1 {
		t.Fatal(l.MapVersion())
	}
}

func TestConfigReportsEveryProblem(t *testing.T) {
	_, err := Open(t.Context(), Config{Retries: 99, RefusedWait: -1, Cache: CacheOptions{Namespace: "a b", MarkTTL: time.Second}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"Source", "Datacenter", "Account.User", "shard list", "Retries", "RefusedWait", "Cache.Namespace", "Cache.MarkTTL"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestMetricsAreRegisteredAndTakenBack(t *testing.T) {
	w := newWorld(t)
	registry := prometheus.NewRegistry()
	for range 2 {
		l := w.open("legacy", func(c *Config) { c.Registerer = registry })
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if !strings.HasPrefix(f.GetName(), "drover_shardlib_") {
				t.Errorf("metric %s", f.GetName())
			}
		}
		if len(families) != 13 {
			t.Errorf("%d metrics", len(families))
		}
		if _, err := Open(t.Context(), l.config); err == nil {
			t.Error("two libraries on one registry")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestClosedLibraryDoesNothing(t *testing.T) {
	w := newWorld(t)
	l := w.open("legacy")
	if err := l.Update(t.Context(), alice, add(alice)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Update(t.Context(), alice, add(alice)); err == nil {
		t.Fatal("a closed library wrote")
	}
}

func TestShardListIsStrict(t *testing.T) {
	const good = "database: app\nshards:\n  alpha: {legacy: \"127.0.0.1:3306\"}\n  beta: {legacy: \"127.0.0.1:3307\", cloud: \"db.cloud:3308\"}\n" +
		"caches:\n  legacy: [\"127.0.0.1:11211\"]\n"
	list, err := ParseShardList([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := list.Address("beta", "cloud"); !ok || a != "db.cloud:3308" || list.Database != "app" {
		t.Fatalf("got %+v", list)
	}
	for _, c := range [][2]string{{"alpha", "cloud"}, {"gamma", "legacy"}} {
		if a, ok := list.Address(bucketmap.ShardName(c[0]), bucketmap.Datacenter(c[1])); ok {
			t.Errorf("%v is at %s", c, a)
		}
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "caches:", "cashes:", "cashes"},
		{"no database", "app", `""`, "database"},
		{"no port", "127.0.0.1:3306", "127.0.0.1", "shards.alpha.legacy"},
		{"port 0", "127.0.0.1:3306", "127.0.0.1:0", "shards.alpha.legacy"},
		{"no host", "127.0.0.1:3306", ":3306", "shards.alpha.legacy"},
		{"parameters", "127.0.0.1:3306", "a)/x?b=(c:1", "shards.alpha.legacy"},
		{"one server for two shards", "127.0.0.1:3307", "127.0.0.1:3306", "another server than shards.alpha.legacy"},
		{"shard without servers", `{legacy: "127.0.0.1:3306"}`, "{}", "shards.alpha"},
		{"cache twice", `["127.0.0.1:11211"]`, `["a:1", "a:1"]`, "caches.legacy[1]"},
		{"second document", "caches:", "---\ncaches:", "document"},
	} {
		_, err := ParseShardList([]byte(strings.Replace(good, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
	}
	if _, err := ParseShardList(nil); err == nil {
		t.Error("an empty list")
	}
	if _, err := LoadShardList(fmt.Sprint(t.TempDir(), "/none")); err == nil {
		t.Error("a list that is not there")
	}
}
