package whitelist

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"drover/bucketmap"
	"drover/proxy/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second // no test waits so long unless it fails

// rig is a File that runs.
type rig struct {
	t    *testing.T
	path string
	file *File
	log  *observer.ObservedLogs
	came chan []string // by Swap
	stop func()
}

func newRig(t *testing.T, text string, change func(*Options)) *rig {
	t.Helper()
	core, log := observer.New(zapcore.DebugLevel)
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "list"), log: log, came: make(chan []string, 100)}
	if text != "" {
		r.write(text)
	}
	o := Options{
		Path: r.path, Datacenter: "cloud", Settle: 5 * time.Millisecond, Recheck: time.Hour,
		Swap:    func(_ context.Context, users *bucketmap.Whitelist) { r.came <- idsOf(users) },
		Metrics: metrics.New(prometheus.NewRegistry(), nil), Log: zap.New(core),
	}
	if change != nil {
		change(&o)
	}
	r.file = New(o)
	return r
}

func (r *rig) run() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.file.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(r.stop)
}

func (r *rig) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// want waits until these users are in force.
func (r *rig) want(ids ...string) {
	r.t.Helper()
	timeout := time.After(patience)
	var got []string
	for {
		select {
		case got = <-r.came:
			if slices.Equal(got, ids) {
				return
			}
		case <-timeout:
			r.t.Fatalf("got %q, want %q; log %v", got, ids, r.log.All())
		}
	}
}

// refused waits until the log has refused n files.
func (r *rig) refused(n int, text string) {
	r.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		entries := r.log.FilterMessage("whitelist file refused; the users of before stay").All()
		if len(entries) == n {
			if why, _ := entries[n-1].ContextMap()["error"].(string); !strings.Contains(why, text) {
				r.t.Errorf("got %q, want %q in it", why, text)
			}
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("refused %d times, want %d", len(entries), n)
		}
	}
}

func TestAListIsInForceBeforeTheFirstClientAndFollowsItsFile(t *testing.T) {
	r := newRig(t, "ann\n", nil)
	if err := r.file.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-r.came; !slices.Equal(got, []string{"ann"}) {
		t.Fatalf("got %q", got)
	}
	r.run()
	r.write("ann\nbob\n") // in place
	r.want("ann", "bob")
	if err := os.WriteFile(r.path+".new", []byte("eve\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.path+".new", r.path); err != nil {
		t.Fatal(err)
	}
	r.want("eve")
	r.write("")
	r.want()
}

func TestWhatIsRefusedLeavesTheUsersOfBefore(t *testing.T) {
	r := newRig(t, "ann\n", nil)
	if err := r.file.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-r.came
	r.run()
	r.write("ann\nbob \n")
	r.refused(1, "line 2")
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	r.refused(2, "no such file")
	select {
	case got := <-r.came:
		t.Fatalf("%q are in force", got)
	default:
	}
	r.write("ann\nbob\n")
	r.want("ann", "bob")
	r.write("eve \n")
	r.refused(3, "line 1")
}

func TestAFileThatWasNeverThereIsNobodyUntilItComes(t *testing.T) {
	r := newRig(t, "", nil)
	if err := r.file.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.write("ann\n")
	r.want("ann")
}

func TestAFileThatIsWrongAtFirstIsAnErrorAndReadWhenItIsRight(t *testing.T) {
	r := newRig(t, "ann \n", nil)
	if err := r.file.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Fatalf("got %v", err)
	}
	r.run()
	r.write("ann\n")
	r.want("ann")
}

func TestWithoutNotificationsTheRecheckFindsAChange(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	r := newRig(t, "", func(o *Options) { o.Recheck = 10 * time.Millisecond })
	if err := os.WriteFile(outside, []byte("ann\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, r.path); err != nil {
		t.Fatal(err)
	}
	if err := r.file.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-r.came
	r.run()
	if err := os.WriteFile(outside, []byte("ann\nbob\n"), 0o600); err != nil { // in another folder
		t.Fatal(err)
	}
	r.want("ann", "bob")
}

func TestReloadReadsAFileThatSeemsTheSame(t *testing.T) {
	r := newRig(t, "ann\n", nil)
	if err := r.file.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-r.came
	r.run()
	r.file.Reload()
	r.want("ann")
}

func TestAFileThatChangedBetweenLoadAndRunIsReadAgain(t *testing.T) {
	r := newRig(t, "ann\n", nil)
	if err := r.file.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-r.came
	r.write("ann\nbob\n")
	r.run()
	r.want("ann", "bob")
}

func TestAHalfWrittenFileIsNotTakenForTheWhole(t *testing.T) {
	const settle, tries = 200 * time.Millisecond, 20
	r := newRig(t, "ann\n", func(o *Options) { o.Settle = settle })
	if err := r.file.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-r.came
	r.run()
	for range tries {
		if took := r.writeInParts("an", "n\nb", "ob\n"); took < settle {
			select {
			case got := <-r.came:
				if !slices.Equal(got, []string{"ann", "bob"}) {
					t.Errorf("got %q", got)
				}
			case <-time.After(patience):
				t.Error("never read")
			}
			return
		}
		// It has stayed the same for so long that it may be taken for the whole.
		r.want("ann", "bob")
		r.write("ann\n")
		r.want("ann")
	}
	t.Fatalf("in %d tries a file was never written within %s", tries, settle)
}

// writeInParts writes the file anew, in several writes, and returns how long
// they took.
func (r *rig) writeInParts(parts ...string) time.Duration {
	r.t.Helper()
	begun := time.Now()
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	for _, part := range parts {
		if _, err := f.WriteString(part); err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // that each is noticed makes the test sharper, no result depends on it
	}
	return time.Since(begun)
}
