package consul

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
	"drover/tools/testservers"
)

// waitMax is when a test gives up. No test that passes comes near it.
const testWaitMax = 30 * time.Second

// shared is the server of all tests that do not end it.
var shared struct {
	fleet  *testservers.Fleet
	server *testservers.Consul
}

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	ctx := context.Background()
	shared.fleet, err = testservers.New(ctx, testservers.Options{Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, shared.fleet.Close()) }()
	shared.server, err = shared.fleet.Consul(ctx, "shared", testservers.ConsulOptions{
		Config: map[string]any{"session_ttl_min": "1s"},
	})
	if err != nil {
		return 0, err
	}
	before := goleak.IgnoreCurrent()
	code = m.Run()
	return code, goleak.Find(before)
}

// prefix is one of its own for each call.
func prefix() string { return "test/" + rand.Text() }

// options are for the shared server and a prefix of its own.
func options() Options { return Options{Address: shared.server.Addr(), Prefix: prefix()} }

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newStore(t *testing.T) bucketmap.Store { return open(t, options()) }

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, newStore)
}

// The two verify what the other signed.
func TestTwoStoresOnOnePrefixWithSignatures(t *testing.T) {
	t.Parallel()
	public, private := newKey(t)
	signed := func(t *testing.T) bucketmap.Store {
		o := options()
		o.Sign, o.Keys = private, append(o.Keys, public)
		return open(t, o)
	}
	storetest.RunShared(t, signed, func(t *testing.T, first bucketmap.Store) bucketmap.Store {
		return open(t, first.(*Store).options)
	})
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testWaitMax)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// edit returns the next version, with one user more on the whitelist.
func edit(t testing.TB, from *bucketmap.Snapshot) *bucketmap.Snapshot {
	t.Helper()
	d := from.Edit()
	d.Whitelist[fmt.Sprintf("user-%d", d.Version)] = from.Default().Datacenter
	next, err := d.Snapshot()
	must(t, err)
	return next
}

func publish(t testing.TB, s *Store, next *bucketmap.Snapshot) *bucketmap.Snapshot {
	t.Helper()
	must(t, s.Publish(within(t), next, bucketmap.Change{Who: "test", Why: t.Name()}))
	return next
}

// publishTo publishes versions from 1 to last.
func publishTo(t testing.TB, s *Store, last bucketmap.Version) *bucketmap.Snapshot {
	t.Helper()
	now := publish(t, s, storetest.First(t))
	for now.Version() < last {
		now = publish(t, s, edit(t, now))
	}
	return now
}

func wantLoad(t testing.TB, s *Store, want *bucketmap.Snapshot) {
	t.Helper()
	got, err := s.Load(within(t))
	must(t, err)
	if !got.Equal(want) {
		t.Fatalf("another map:\n%s", bucketmap.Diff(want, got))
	}
}

// raw gives the keys to a test that damages them.
func raw(s *Store) *api.KV { return s.client.KV() }

func putRaw(t testing.TB, s *Store, key string, value []byte) {
	t.Helper()
	_, err := raw(s).Put(&api.KVPair{Key: key, Value: value}, nil)
	must(t, err)
}

func getRaw(t testing.TB, s *Store, key string) []byte {
	t.Helper()
	pair, _, err := raw(s).Get(key, nil)
	must(t, err)
	if pair == nil {
		t.Fatalf("no key %s", key)
	}
	return pair.Value
}

func deleteRaw(t testing.TB, s *Store, key string) {
	t.Helper()
	_, err := raw(s).Delete(key, nil)
	must(t, err)
}

// document returns the pointer.
func pointerOf(t testing.TB, s *Store) *document {
	t.Helper()
	d, err := parseDocument(s.pointerKey(), getRaw(t, s, s.pointerKey()))
	must(t, err)
	return d
}

func wantRule(t testing.TB, err error, rule bucketmap.Rule) {
	t.Helper()
	var refused *bucketmap.RefusedError
	if !errors.As(err, &refused) || refused.Rule != rule || refused.Remedy == "" || !errors.Is(err, bucketmap.ErrRefused) {
		t.Fatalf("error %v, want a refusal by the rule %q with a remedy", err, rule)
	}
}

// seen is one call of a watcher.
type seen struct {
	snapshot *bucketmap.Snapshot
	err      error
}

// watching starts Watch and returns its calls. The watcher ends with the test.
func watching(t testing.TB, s *Store) <-chan seen {
	ctx, cancel := context.WithCancel(t.Context())
	calls := make(chan seen)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Watch(ctx, func(snapshot *bucketmap.Snapshot, err error) {
			select {
			case calls <- seen{snapshot, err}:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v, want the context's error", err)
		}
	})
	return calls
}

func next(t testing.TB, calls <-chan seen) seen {
	t.Helper()
	select {
	case c := <-calls:
		return c
	case <-time.After(testWaitMax):
		t.Fatal("no call of the watcher")
		return seen{}
	}
}

// awaitVersion reads calls up to that of a version. Errors before it are those
// of a Consul that was away, or fail the test.
func awaitVersion(t testing.TB, calls <-chan seen, version bucketmap.Version) *bucketmap.Snapshot {
	t.Helper()
	for {
		c := next(t, calls)
		if c.err != nil && !errors.Is(c.err, ErrUnreachable) {
			t.Fatal(c.err)
		}
		if c.snapshot != nil && c.snapshot.Version() >= version {
			return c.snapshot
		}
	}
}

// startConsul starts a server that the test may end.
func startConsul(t testing.TB, name string, config map[string]any) *testservers.Consul {
	t.Helper()
	server, err := shared.fleet.Consul(t.Context(), name+"-"+rand.Text(), testservers.ConsulOptions{Config: config})
	must(t, err)
	t.Cleanup(func() { must(t, server.Kill()) })
	return server
}
