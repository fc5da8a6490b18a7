package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/config"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/routing"
	"drover/proxy/internal/routing/cohort"
)

func TestARestartRemembersWhoWasMovedAndSeesWhoWasMovedMeanwhile(t *testing.T) {
	t.Parallel()
	r, _ := withList(t, "eve\n")
	known := r.known()
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.publish(func(d *bucketmap.Draft) { d.Whitelist["bob"] = cloud })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	other := "u1" // of a bucket of its own
	r.publishOnly(moveTo(t, bucketOf(other), cloud))
	for range 2 { // the second time no map comes
		r.start()
		r.eventually("the store's map", func() bool { return r.metric("drover_proxy_map_version") == 4 })
		for _, user := range []string{"ann", "bob", other} {
			r.want(r.get(user), 200, "cloud")
		}
		r.want(r.get("eve"), 200, "cloud")
		r.want(r.get("u4"), 200, "legacy")
		r.wantCohorts(map[string]float64{"cloud moved 2xx": 3, "cloud stayed 2xx": 1, "legacy stayed 2xx": 1})
		if got := r.known(); got != known {
			t.Errorf("known since %v, want %v", got, known)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever is wrong with what the process before kept, it is said.
func TestARestartThatCannotKnowWhoWasMovedSaysSo(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(r *rig, cohorts, list string) error{
		"there is no file": func(_ *rig, cohorts, _ string) error { return os.Remove(cohorts) },
		"it is torn":       func(_ *rig, cohorts, _ string) error { return os.Truncate(cohorts, 50) },
		"there is no cache": func(r *rig, _, _ string) error {
			r.config.Map.Cache = ""
			return nil
		},
		"the last good map is gone": func(r *rig, _, _ string) error { return os.Remove(r.config.Map.Cache) },
		"another whitelist file":    func(_ *rig, _, list string) error { return os.WriteFile(list, []byte("eve\nbob\n"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, list := withList(t, "eve\n")
			r.publish(moveTo(t, bucketOf("ann"), cloud))
			known := r.known()
			if err := errors.Join(r.stop(), spoil(r, r.config.Map.Cache+".cohorts", list)); err != nil {
				t.Fatal(err)
			}
			r.start()
			r.eventually("a map", func() bool { return r.metric("drover_proxy_map_version") == 2 })
			if got := r.known(); got <= known {
				t.Errorf("known since %v, as before", got)
			}
			r.publish(moveTo(t, bucketOf("u1"), cloud)) // from here on it knows
			r.want(r.get("u1"), 200, "cloud")
			r.wantCohorts(map[string]float64{"cloud moved 2xx": 1})
		})
	}
}

// keptEarlier writes what a process would have kept that saw from become to so
// long ago, and its last good map.
func (r *rig) keptEarlier(from, to *bucketmap.Snapshot, ago time.Duration) {
	r.t.Helper()
	set := cohort.New(cohort.Options{Window: time.Minute, Wall: func() time.Time { return time.Now().Add(-ago) }, Now: func() passport.Instant { return 0 }})
	set.Change(nil, from, nil)
	set.Change(from, to, nil)
	writeFile(r.t, r.config.Map.Cache+".cohorts", string(set.Append(nil)))
}

func TestAUserStaysAgainOnceTheWindowHasPassed(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.Cohort.Window = time.Minute })
	first := loaded(t, r.store)
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	again := func(left time.Duration) {
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r.keptEarlier(first, loaded(t, r.store), time.Minute-left)
		r.start()
	}
	again(40 * time.Second)
	r.want(r.get("ann"), 200, "cloud")
	r.wantCohorts(map[string]float64{"cloud moved 2xx": 1})
	again(500 * time.Millisecond)
	requests := 0.0
	r.eventually("ann stays, with no map between", func() bool {
		r.want(r.get("ann"), 200, "cloud")
		requests++
		r.eventually("it is counted", func() bool { return r.metric("drover_proxy_cohort_responses_total") == requests })
		return r.cohorts()["cloud stayed 2xx"] != 0
	})
}

func TestAHotRestartHandsOverWhoWasMoved(t *testing.T) {
	t.Parallel()
	p := build(t)
	serving := p.start("p")
	cache := filepath.Join(p.dir, "p", "map")
	serving.rewrite("map: {", fmt.Sprintf("map: {cache: %q, ", cache))
	replace := func() *rig {
		serving.signal(syscall.SIGUSR2)
		next := p.await("p", serving.pid)
		serving.wait()
		serving = next
		admins := regexp.MustCompile(`"admin":"([^"]+)"`).FindAllStringSubmatch(serving.output(), -1)
		return &rig{t: t, clients: p.address, admin: admins[len(admins)-1][1], http: http.DefaultClient}
	}
	r := replace() // it has a cache now
	known := r.known()
	move := rig{t: t, store: p.store}
	v := move.publishOnly(moveTo(t, bucketOf("ann"), cloud))
	r.eventually("the map is kept", func() bool {
		kept, err := routing.ReadCache(cache)
		return err == nil && kept != nil && kept.Version() == v
	})
	r = replace()
	if got := r.do("POST", "/1", "ann", strings.NewReader("x")); got.err != nil {
		t.Fatal(got.err)
	}
	r.eventually("it is counted as moved", func() bool {
		return r.metric("drover_proxy_cohort_responses_total", `cohort="moved"`, `datacenter="cloud"`) == 1
	})
	if got := r.known(); got != known || known == 0 {
		t.Errorf("known since %v, want %v", got, known)
	}
	http.DefaultClient.CloseIdleConnections()
	serving.end()
}
