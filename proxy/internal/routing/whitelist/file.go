package whitelist

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/proxy/internal/metrics"
)

const (
	settle  = 100 * time.Millisecond
	recheck = 2 * time.Second
	// settleTries bounds the wait for a file that never stays the same: it is
	// then read as it is.
	settleTries = 50
)

// Options are those of a File. Settle and Recheck have defaults: 100 ms and 2 s.
type Options struct {
	Path       string
	Datacenter bucketmap.Datacenter
	// Swap takes the users of the file, in the place of those of before.
	Swap    func(ctx context.Context, users *bucketmap.Whitelist)
	Metrics *metrics.Metrics
	Log     *zap.Logger
	// Settle is how long a file must have stayed the same, Recheck how often it
	// is looked at where nothing tells of changes.
	Settle, Recheck time.Duration
}

// File is a file of users.
type File struct {
	options Options
	asked   chan struct{} // by Reload

	read    stamp  // of the file that was read last
	had     bool   // users of it are, or were, in force
	refused string // the last refusal, empty when the last reading was good
	again   bool   // the last reading failed for what may pass without a change
}

// New returns a File that has read nothing yet.
func New(options Options) *File {
	if options.Settle <= 0 {
		options.Settle = settle
	}
	if options.Recheck <= 0 {
		options.Recheck = recheck
	}
	return &File{options: options, asked: make(chan struct{}, 1)}
}

// Reload asks Run to read the file anew.
func (f *File) Reload() {
	select {
	case f.asked <- struct{}{}:
	default: // it was asked already
	}
}

// Load reads the file for the first time. An error says that there are no users
// of it; Run tries again when it changes. A file that is not there is no error.
func (f *File) Load(ctx context.Context) error {
	f.read = stampOf(f.options.Path)
	return f.take(ctx)
}

// take reads the file and gives its users to Swap, or refuses it.
func (f *File) take(ctx context.Context) error {
	users, err := Read(f.options.Path, f.options.Datacenter)
	if err == nil {
		f.had, f.refused, f.again = true, "", false
		f.options.Swap(ctx, users)
		f.options.Metrics.WhitelistUsers.Set(float64(users.Len()))
		f.options.Metrics.WhitelistLoaded.SetToCurrentTime()
		f.options.Log.Info("whitelist file in force", zap.String("path", f.options.Path), zap.Int("users", users.Len()))
		return nil
	}
	var path *fs.PathError
	f.again = errors.As(err, &path) && !errors.Is(err, fs.ErrNotExist)
	if errors.Is(err, fs.ErrNotExist) && !f.had {
		if f.refused != err.Error() {
			f.refused = err.Error()
			f.options.Log.Warn("there is no whitelist file yet; nobody is on it", zap.String("path", f.options.Path))
		}
		return nil
	}
	if f.refused != err.Error() {
		f.refused = err.Error()
		f.options.Metrics.WhitelistRefused.Inc()
		f.options.Log.Error("whitelist file refused; the users of before stay", zap.String("path", f.options.Path), zap.Error(err))
	}
	return err
}

// Run keeps up with the file until ctx ends, and returns nil then.
func (f *File) Run(ctx context.Context) error {
	folder := newFolder(filepath.Dir(f.options.Path))
	defer folder.close()
	look := time.NewTicker(f.options.Recheck)
	defer look.Stop()
	wait := time.NewTimer(f.options.Settle)
	defer wait.Stop() // it runs: what changed between Load and now is found
	pending, tries := f.read, 0
	changed := func(asked bool) {
		if now := stampOf(f.options.Path); asked || !now.same(f.read) {
			pending, tries = now, 1
			wait.Reset(f.options.Settle)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.asked:
			changed(true)
		case event, ok := <-folder.events():
			if !ok {
				folder.close()
			} else if event.Op != fsnotify.Chmod && tries == 0 {
				changed(filepath.Base(event.Name) == filepath.Base(f.options.Path))
			}
		case <-folder.errors(): //nolint:errcheck // notifications were lost, whatever the reason
			changed(false)
		case <-look.C:
			folder.renew()
			if tries == 0 {
				changed(f.again)
			}
		case <-wait.C:
			now := stampOf(f.options.Path)
			switch {
			case tries == 0 && now.same(f.read): // nothing since Load
			case !now.same(pending) && tries < settleTries:
				pending = now
				tries++
				wait.Reset(f.options.Settle)
			default:
				f.read, tries = now, 0
				_ = f.take(ctx) // it has reported it
				if !stampOf(f.options.Path).same(now) {
					changed(true) // it changed while it was read
				}
			}
		}
	}
}
