package routing

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"drover/bucketmap"
)

func TestOfMapsThatComeFastFewAreKeptAndTheNewestInTheEnd(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	synctest.Test(t, func(t *testing.T) {
		table := newTable(t, newSource(), func(o *Options) { o.Cache = cache })
		stop := start(t, table)
		kept := map[bucketmap.Version]bool{}
		look := func() {
			synctest.Wait()
			if s, err := ReadCache(cache); err != nil {
				t.Error(err)
			} else if s != nil {
				kept[s.Version()] = true
			}
		}
		const versions, every = 100, 20 * time.Millisecond
		pace := time.NewTicker(every)
		defer pace.Stop()
		for v := range bucketmap.Version(versions) {
			if err := table.Offer(t.Context(), newMap(t, v+1, "legacy")); err != nil {
				t.Fatal(err)
			}
			look()
			<-pace.C
		}
		if atMost := int(versions*every/savePauseMin) + 1; len(kept) > atMost {
			t.Errorf("%d of %d maps were kept: %v; at most %d are wanted", len(kept), versions, kept, atMost)
		}
		// The proxy goes on: nobody ends it so that it keeps the last one.
		for end := time.Now().Add(2 * savePauseMin); !kept[versions]; look() {
			if now := <-pace.C; now.After(end) {
				t.Errorf("the newest is not kept: %v", kept)
				break
			}
		}
		stop()
	})
}
