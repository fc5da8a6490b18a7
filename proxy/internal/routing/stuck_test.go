package routing

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/binary"
)

// stuck is a store whose calls see no context: each comes back when it is freed.
type stuck struct {
	free chan struct{}
	back chan string // the calls that came back
}

func newStuck() *stuck { return &stuck{make(chan struct{}), make(chan string, 10)} }

func (s *stuck) wait(call string) error {
	<-s.free
	s.back <- call
	return errors.New("too late")
}

func (s *stuck) Load(context.Context) (*bucketmap.Snapshot, error) { return nil, s.wait("load") }

func (s *stuck) Watch(_ context.Context, changed func(*bucketmap.Snapshot, error)) error {
	<-s.free
	changed(nil, errors.New("too late"))
	return s.wait("watch")
}

func (s *stuck) Ack(context.Context, bucketmap.Ack) error { return s.wait("ack") }

// end lets every call come back, so that none outlives the test.
func (s *stuck) end(calls int) {
	close(s.free)
	for range calls {
		<-s.back
	}
}

func keep(t *testing.T, s *bucketmap.Snapshot) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cache")
	if err := writeFile(path, binary.Append(nil, s, nil)); err != nil {
		t.Fatal(err)
	}
	return path
}

const within = 20 * time.Second

func TestAStoreThatDoesNotComeBackKeepsNeitherAStartNorADrain(t *testing.T) {
	t.Parallel()
	s := newStuck()
	table := newTable(t, newSource(), func(o *Options) { o.Source, o.Cache = s, keep(t, newMap(t, 3, "legacy")) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- table.Start(ctx) }()
	select {
	case err := <-started:
		if !errors.Is(err, ErrStuck) {
			t.Errorf("Start: %v", err)
		}
	case <-time.After(within):
		t.Fatal("Start waits for the store")
	}
	if now := table.Current(); now == nil || now.Version() != 3 {
		t.Fatalf("in force is %v, want the last good map", now)
	}
	if status := table.Status(); status.StoreError != ErrStuck.Error() || status.Refused != nil {
		t.Errorf("status %+v", status)
	}
	done := make(chan error, 1)
	go func() { done <- table.Run(ctx) }()
	// A map that is pushed comes into force all the same.
	if err := table.Offer(ctx, newMap(t, 4, "legacy")); err != nil {
		t.Error(err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, ErrStuck) {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(within):
		t.Fatal("Run waits for the store")
	}
	before := table.Status()
	s.end(2) // Load and Watch; Ack may have begun or not
	if after := table.Status(); after.StoreError != before.StoreError {
		t.Errorf("a watch that nobody waits for says %q", after.StoreError)
	}
}

func TestAStartEndsWithItsContextWhateverTheStoreDoes(t *testing.T) {
	t.Parallel()
	s := newStuck()
	table := newTable(t, newSource(), func(o *Options) { o.Source = s })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := table.Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Start: %v", err)
	}
	s.end(1)
}

func TestARefusedBucketCountNamesTheKeptMap(t *testing.T) {
	kept := keep(t, newMap(t, 7, "legacy"))
	d := bucketmap.NewDraft(newMap(t, 7, "legacy").Buckets() * 2)
	d.Version = 8
	if err := errors.Join(d.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}), d.SetHome(0, 0, "alpha")); err != nil {
		t.Fatal(err)
	}
	d.Default = bucketmap.Default{Datacenter: "legacy"}
	other, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	table := newTable(t, newSource(), func(o *Options) { o.Cache = kept })
	if err := table.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	remedy := "from " + kept + ": if the store is right, delete that file and restart the proxy"
	for range 2 {
		var refused *bucketmap.RefusedError
		err := table.Offer(t.Context(), other)
		if !errors.As(err, &refused) || refused.Rule != bucketmap.RuleBuckets || !strings.Contains(refused.Remedy, remedy) {
			t.Fatalf("got %v", err)
		}
		if s := table.Status(); s.Refused == nil || !strings.Contains(s.Refused.Reason, remedy) {
			t.Errorf("shown %+v", s.Refused)
		}
	}
	// Other refusals say nothing of the file, and neither does one of a map that
	// is not what the store confirmed.
	if err := table.Offer(t.Context(), newMap(t, 6, "legacy")); err == nil || strings.Contains(err.Error(), kept) {
		t.Errorf("an older one: %v", err)
	}
	if err := table.Offer(t.Context(), newMap(t, 7, "legacy")); err != nil {
		t.Fatal(err)
	}
	if err := table.Offer(t.Context(), other); err == nil || strings.Contains(err.Error(), kept) {
		t.Errorf("after the store has confirmed it: %v", err)
	}
}

func TestAPipeInThePlaceOfTheKeptMapKeepsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCache(path); err == nil || !strings.Contains(err.Error(), "is a pipe") {
		t.Errorf("got %v", err)
	}
}
