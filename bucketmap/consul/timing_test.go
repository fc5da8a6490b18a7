package consul

import (
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/storetest"
)

// BenchmarkPublishUntilWatched is a change of one user from Publish's begin to
// the watcher's call, on a small map and on the largest.
func BenchmarkPublishUntilWatched(b *testing.B) {
	for name, first := range map[string]func(testing.TB) *bucketmap.Snapshot{
		"small": func(t testing.TB) *bucketmap.Snapshot { return publishTo(t, open(t, options()), 1) },
		"large": large,
	} {
		b.Run(name, func(b *testing.B) {
			o := options()
			publisher, proxy := open(b, o), open(b, o)
			now := publish(b, publisher, first(b))
			calls := watching(b, proxy)
			awaitVersion(b, calls, 1)
			for b.Loop() {
				now = publish(b, publisher, edit(b, now))
				if got := awaitVersion(b, calls, now.Version()); got.Digest() != now.Digest() {
					b.Fatal("another map")
				}
			}
		})
	}
}

// BenchmarkEdge is what a version costs a proxy's side of the store, on a small map:
// a watcher that acknowledges each. The figures are the whole
// process's, publisher included: a profile tells them apart.
func BenchmarkEdge(b *testing.B) {
	o := options()
	publisher, proxy := open(b, o), open(b, o)
	now := publish(b, publisher, storetest.First(b))
	calls := watching(b, proxy)
	awaitVersion(b, calls, 1)
	for b.Loop() {
		now = publish(b, publisher, edit(b, now))
		got := awaitVersion(b, calls, now.Version())
		must(b, proxy.Ack(b.Context(), bucketmap.Ack{Proxy: "p1", Version: got.Version(), Digest: got.Digest(), Since: time.Now()}))
	}
}
