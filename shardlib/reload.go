package shardlib

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"drover/bucketmap"
)

// ErrShards is the class of shard lists that may not replace the one in force.
var ErrShards = errors.New("the shard list is refused")

// Shards returns the shard list in force here.
func (l *Library) Shards() ShardList {
	l.pools.mu.RLock()
	defer l.pools.mu.RUnlock()
	return l.pools.mu.list
}

// SetShards takes another shard list into force, without a restart: servers may
// come, go, and change their addresses. Transactions under way end where they
// began, on connections that are closed when they do; new ones go by the new
// list. A list without the server of a shard that lives there by the map is
// refused with ErrShards, and the old one stays.
//
// A caller that changes an address must see to it that the old server refuses
// writes, or is the same server: the fence does when the new one has another
// server_id. Memcached servers that change hold values of before: while some
// processes have the old list and some the new, a reader can find a value that
// a writer has replaced, until it expires. Change them with every process at
// once, or with a new CacheOptions.Namespace.
func (l *Library) SetShards(list ShardList) error {
	err := l.setShards(list)
	outcome := "in_force"
	if err != nil {
		outcome = "refused"
	}
	l.metrics.lists.WithLabelValues(outcome).Inc()
	return err
}

func (l *Library) setShards(list ShardList) error {
	if err := list.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrShards, err)
	}
	if snapshot := l.current.Load(); snapshot != nil {
		old := l.Shards()
		for _, shard := range snapshot.Shards() {
			_, had := old.Address(shard.Name, shard.Datacenter)
			if _, has := list.Address(shard.Name, shard.Datacenter); had && !has {
				return fmt.Errorf("%w: shard %s lives in %s by map %d, and the list has no server of it there",
					ErrShards, shard.Name, shard.Datacenter, snapshot.Version())
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock() // one at a time
	old := l.cachesNow()
	caches, err := l.makeCaches(list, old)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrShards, err)
	}
	l.pools.use(list)
	l.samplers.forget()
	l.caches.Store(&caches)
	for dc, c := range old {
		if caches[dc] != c {
			_ = c.close() // the idle connections; calls under way go on
		}
	}
	return nil
}

func (l *Library) cachesNow() map[bucketmap.Datacenter]*cache { return *l.caches.Load() }

// makeCaches makes the caches of a list; those that are as they were are kept.
func (l *Library) makeCaches(list ShardList, old map[bucketmap.Datacenter]*cache) (map[bucketmap.Datacenter]*cache, error) {
	caches := map[bucketmap.Datacenter]*cache{}
	for dc, servers := range list.Caches {
		if c := old[dc]; c != nil && slices.Equal(c.servers, servers) {
			caches[dc] = c
			continue
		}
		if len(servers) == 0 {
			continue
		}
		timeout := l.config.Cache.Remote
		if dc == l.config.Datacenter {
			timeout = l.config.Cache.Local
		}
		c, err := newCache(l.config.Cache, servers, timeout)
		if err != nil {
			return nil, fmt.Errorf("shardlib: caches of %s: %w", dc, err)
		}
		caches[dc] = c
	}
	return caches, nil
}

// shardsFile is the file of Config.ShardsFile.
type shardsFile struct {
	path    string
	text    []byte // as last read
	watcher *fsnotify.Watcher
}

// readShards reads Config.ShardsFile into Config.Shards. It returns nil where
// there is no file.
func readShards(c *Config) (*shardsFile, error) {
	if c.ShardsFile == "" {
		return nil, nil
	}
	if len(c.Shards.Shards) != 0 {
		return nil, errors.New("shardlib: Shards and ShardsFile: want one of the two")
	}
	f := &shardsFile{path: c.ShardsFile}
	list, _, err := f.read()
	if err != nil {
		return nil, err
	}
	c.Shards = list
	return f, nil
}

// read returns the list, and whether the file has changed.
func (f *shardsFile) read() (list ShardList, changed bool, err error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return list, false, fmt.Errorf("shard list: %w", err)
	}
	if info.Size() > shardListBytesMax {
		return list, false, fmt.Errorf("%s: more than %d bytes", f.path, shardListBytesMax)
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return list, false, fmt.Errorf("shard list: %w", err)
	}
	if bytes.Equal(text, f.text) {
		return list, false, nil
	}
	f.text = text
	if list, err = ParseShardList(text); err != nil {
		return list, false, fmt.Errorf("%s: %w", f.path, err)
	}
	return list, true, nil
}

// watch looks at the file's folder: a file that is replaced is another file,
// and a mounted one is a link to a link.
func (f *shardsFile) watch() error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("shard list: watch %s: %w", f.path, err)
	}
	if err := watcher.Add(filepath.Dir(f.path)); err != nil {
		return errors.Join(fmt.Errorf("shard list: watch %s: %w", f.path, err), watcher.Close())
	}
	f.watcher = watcher
	return nil
}

// shardsPoll is how often the file is read without a word from the system, on
// file systems that give none.
const shardsPoll = 10 * time.Second

func (l *Library) watchShards(ctx context.Context, f *shardsFile) {
	defer func() { _ = f.watcher.Close() }()
	poll := time.NewTicker(shardsPoll)
	defer poll.Stop()
	for {
		list, changed, err := f.read() // first for what changed before the watch
		if err == nil && changed {
			err = l.SetShards(list)
		} else if err != nil {
			l.metrics.lists.WithLabelValues("refused").Inc()
		}
		switch {
		case err != nil:
			l.log.Error("shard list refused: the one in force stays; put it right", zap.String("file", f.path), zap.Error(err))
		case changed:
			l.log.Info("shard list in force", zap.String("file", f.path), zap.Int("shards", len(list.Shards)))
		}
		select {
		case <-ctx.Done():
			return
		case <-f.watcher.Events:
		case err := <-f.watcher.Errors:
			l.log.Warn("watching the shard list", zap.Error(err)) // it is read all the same
		case <-poll.C:
		}
	}
}
