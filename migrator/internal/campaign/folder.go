package campaign

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/gofrs/flock"

	"drover/bucketmap"
	"drover/migrator/internal/machine"
)

// currentMax bounds the file that names the campaign: an id has 25 bytes.
const currentMax = 256

// current is the folder of the campaign in dir, the last that was applied.
func current(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, currentName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w in %s: migrator campaign plan writes a plan, and migrator campaign apply begins it", ErrNone, dir)
	}
	if err != nil {
		return "", fmt.Errorf("campaign: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if len(text) > currentMax || id == "" || filepath.Base(id) != id || id == "." || id == ".." {
		return "", fmt.Errorf("%w: %s does not name a campaign", ErrJournal, filepath.Join(dir, currentName))
	}
	return filepath.Join(dir, id), nil
}

func folderID(folder string) string { return filepath.Base(folder) }

// live says whether a run has the campaign.
func live(folder string) bool {
	lock := flock.New(filepath.Join(folder, runLockName))
	free, err := lock.TryRLock()
	if free {
		_ = lock.Unlock()
	}
	return err == nil && !free
}

// looked is when a run last went round; zero where nobody knows.
func looked(folder string) time.Time {
	info, err := os.Stat(filepath.Join(folder, runLockName))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime().UTC()
}

// Apply checks a plan against the map in force and begins its campaign in dir,
// which is made where it is not there. It returns the campaign's id. The plan
// that it keeps has the figures counted anew.
func Apply(ctx context.Context, dir string, plan *Plan, snap *bucketmap.Snapshot, weight func(bucketmap.BucketID) uint64,
	who, why string, now time.Time) (string, error) {
	if err := CheckMap(plan, snap); err != nil {
		return "", err
	}
	if err := Check(plan, snap, weight); err != nil {
		return "", err
	}
	text, err := EncodePlan(plan)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("campaign: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(dir, lockName))
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := over(dir); err != nil {
		return "", err
	}
	name, err := machine.NewID("c")
	if err != nil {
		return "", err
	}
	folder := filepath.Join(dir, string(name))
	if err := os.Mkdir(folder, 0o700); err != nil {
		return "", fmt.Errorf("campaign: %w", err)
	}
	// The files first, then the name: who dies between leaves a folder that nobody
	// reads.
	for _, file := range []string{planName, journalName} {
		content := text
		if file == journalName {
			content = nil
		}
		if err := writeFile(folder, file, content); err != nil {
			return "", err
		}
	}
	j, err := openJournal(folder, nil)
	if err != nil {
		return "", err
	}
	first := &Entry{Kind: EntryApplied, Who: who, Why: why, At: now, Campaign: string(name), Plan: textDigest(text)}
	if err := j.append(ctx, first, nil); err != nil {
		return "", err
	}
	return string(name), writeFile(dir, currentName, []byte(string(name)+"\n"))
}

// over refuses while another campaign is not over.
func over(dir string) error {
	folder, err := current(dir)
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	j, err := openJournal(folder, nil)
	if err != nil {
		return fmt.Errorf("the campaign before: %w", err)
	}
	if !j.state.ended {
		return fmt.Errorf("%w another one: campaign %s is not over; migrator campaign run goes on with it, campaign abort and then campaign run ends it",
			ErrRefused, folderID(folder))
	}
	return nil
}

// writeFile replaces a file, whole or not at all, and lasting.
func writeFile(dir, name string, content []byte) error {
	f, err := os.CreateTemp(dir, "."+name+"-")
	if err != nil {
		return fmt.Errorf("campaign: %w", err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return fmt.Errorf("campaign: %w", errors.Join(err, os.Remove(f.Name())))
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("campaign: %w", err)
	}
	defer d.Close()
	return d.Sync()
}

func textDigest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// pollEvery is for what fsnotify misses, such as on a network's file system: it
// is within the second that an operator is promised.
const pollEvery = 500 * time.Millisecond

// WatchFiles is a Watch by the file system's own word, and by the clock.
func WatchFiles(ctx context.Context, dir string) (<-chan struct{}, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	if err := watcher.Add(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", dir, err), watcher.Close())
	}
	changed := make(chan struct{}, 1) // one word says that something changed, as ten do
	go func() {
		defer close(changed)                   // who reads until then has waited for this goroutine
		defer func() { _ = watcher.Close() }() // its end says nothing new
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case _, open := <-watcher.Events:
				if !open {
					return
				}
			case _, open := <-watcher.Errors: // such as an overflow: something changed
				if !open {
					return
				}
			case <-tick.C:
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, nil
}
