package identity

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// cacheShards is how many locks share a cache's tokens: requests of different
// tokens seldom meet.
const cacheShards = 64

// sum stands for a token: the token itself is a secret, and longer.
type sum = [sha256.Size]byte

// cache remembers verdicts: in each shard, those asked for last.
type cache struct {
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	max int
	mu  struct {
		sync.Mutex
		bySum  map[sum]*list.Element // of *cached
		recent list.List             // the front was asked for last
	}
}

type cached struct {
	sum     sum
	verdict verdict
}

// newCache returns a cache of at most max verdicts, rounded up to the same
// number in each shard; of none when max is not over 0.
func newCache(max int) *cache {
	c := &cache{}
	for i := range c.shards {
		c.shards[i].max = (max + cacheShards - 1) / cacheShards
		c.shards[i].mu.bySum = map[sum]*list.Element{}
	}
	return c
}

func (c *cache) shard(s sum) *cacheShard { return &c.shards[s[0]%cacheShards] }

// get returns the verdict that keys gave on a token, as long as it is good.
func (c *cache) get(s sum, keys *keySet, now time.Time) (verdict, bool) {
	shard := c.shard(s)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	e, ok := shard.mu.bySum[s]
	if !ok {
		return verdict{}, false
	}
	v := &e.Value.(*cached).verdict
	if v.keys != keys || !now.Before(v.until) {
		shard.remove(e)
		return verdict{}, false
	}
	shard.mu.recent.MoveToFront(e)
	return *v, true
}

// put remembers a verdict. Where there is no place left, the one that was not
// asked for the longest goes.
func (c *cache) put(s sum, v verdict, now time.Time) {
	shard := c.shard(s)
	if shard.max <= 0 || !now.Before(v.until) {
		return
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if e, ok := shard.mu.bySum[s]; ok {
		shard.remove(e)
	}
	if shard.mu.recent.Len() >= shard.max {
		shard.remove(shard.mu.recent.Back())
	}
	shard.mu.bySum[s] = shard.mu.recent.PushFront(&cached{sum: s, verdict: v})
}

// clear forgets everything.
func (c *cache) clear() {
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.Lock()
		clear(shard.mu.bySum)
		shard.mu.recent.Init()
		shard.mu.Unlock()
	}
}

// remove is called with the lock held.
func (s *cacheShard) remove(e *list.Element) {
	delete(s.mu.bySum, e.Value.(*cached).sum)
	s.mu.recent.Remove(e)
}
