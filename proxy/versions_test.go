package main

import (
	"fmt"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/push"
	"drover/proxy/internal/config"
)

// versionsInARow is how many the bench publishes a thousand of: 60, and 150 with
// DROVER_SOAK=1.
func versionsInARow() int { return rounds(60, 150) }

func TestNoRequestFailsWhileVersionsFollowOneAnother(t *testing.T) {
	t.Parallel()
	sign, key := signer(t)
	signed := func(c *config.Config) { c.Map.Keys, c.Passport.Sample = []string{key}, 0 }
	for name, start := range map[string]func(t *testing.T) *rig{
		"file":   func(t *testing.T) *rig { return newRig(t, func(c *config.Config) { c.Passport.Sample = 0 }) },
		"consul": func(t *testing.T) *rig { return onConsul(t, startConsul(t), sign, signed) },
		"push":   func(t *testing.T) *rig { return onPush(t, push.Options{Sign: sign}, signed) },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			stop := make(chan struct{})
			served := make(chan int, 4)
			for i := range cap(served) {
				go func() {
					n := 0
					defer func() { served <- n }()
					for ; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						if a := r.get(fmt.Sprintf("user-%d", (i+n)%200)); a.err != nil || a.status != 200 {
							t.Errorf("a request failed: %v", a)
							return
						}
					}
				}()
			}
			var last bucketmap.Version
			for i := range versionsInARow() {
				last = r.publishOnly(moveTo(t, bucketmap.BucketID(i%buckets), []bucketmap.Datacenter{cloud, legacy}[i/buckets%2]))
			}
			r.waitAck(func(a bucketmap.Ack) bool { return a.Version == last && a.Digest == loaded(t, r.store).Digest() })
			close(stop)
			total := 0
			for range cap(served) {
				total += <-served
			}
			if total == 0 {
				t.Error("nothing was asked")
			}
			if got := r.metric("drover_proxy_map_refused_total"); got != 0 {
				t.Errorf("%v maps were refused: %s", got, r.adminGet("/map"))
			}
			r.eventuallyKept(last)
			t.Logf("%d versions, %d requests", versionsInARow(), total)
		})
	}
}
