package tracer

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
)

func TestATracerThatLandsAtHomeIsRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for i, r := range w.once() {
		if r.Outcome != Right || r.Why != "" || r.Sent.Version != 2 || r.Served.Datacenter != "legacy" || r.Expected != (Place{2, "legacy", "alpha"}) || r.Count != 1 {
			t.Errorf("result %d: %+v", i, r)
		}
	}
	w.want(Right, "")
}

func TestAnApplicationOfAnotherDatacenterThanTheProxySentToIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.front.served = func(bucketmap.Datacenter) bucketmap.Datacenter { return "cloud" }
	w.want(Wrong, "the proxy sent it to legacy, and an application of cloud answered")
	if w.store.loads != 1 {
		t.Errorf("the map was loaded %d times: what it says does not matter here", w.store.loads)
	}
}

func TestAnotherShardThanTheMapSaysIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.front.shard = "gamma"
	w.wantOne(KindWrite, Wrong, "used shard gamma, and the map says alpha")
	w.wantOne(KindRead, Right, "")
}

func TestAnotherDatacenterThanTheMapSaysIsMisrouted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.front.send = func(bucketmap.Decision) (bucketmap.Datacenter, string) { return "cloud", "bucket" }
	w.want(Misrouted, "it went to cloud (bucket), and the map says legacy")
	w.front.set(func() {
		w.front.send = func(bucketmap.Decision) (bucketmap.Datacenter, string) { return "cloud", "failover" }
	})
	w.want(Misrouted, "nothing of legacy could be reached")
}

func TestAProxyThatStaysBehindIsStaleAfterTheGraceTimeAndNotBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.view.changed(w.store.publish(t, time.Now(), move(w.bucket(), "gamma")), nil)
	w.want(Right, "during")
	must(t, waitUntil(w, func() bool { since, _ := w.view.behind(2); return time.Since(since) > w.options.Grace }))
	w.want(Stale, "the proxy's map is version 2, and newer ones are published for")
	for _, r := range w.once() {
		if !strings.Contains(r.Why, "it went to legacy (bucket), and the map says cloud") {
			t.Errorf("it is not said where the tracer landed: %s", r.Why)
		}
	}
}

// waitUntil waits for what time alone brings.
func waitUntil(w *world, is func() bool) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for range 2000 {
		if is() {
			return nil
		}
		select {
		case <-ticker.C:
		case <-w.t.Context().Done():
			return w.t.Context().Err()
		}
	}
	return errors.New("it did not come")
}

func TestAProxyThatIsBehindAtTheFirstLookIsStaleByTheHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.front.snap = w.store.versions[0]
	w.want(Stale, "version 1, and newer ones are published for 59m")
}

func TestAMapThatReachesTheProxyBeforeTheTracerIsNoFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	next := w.store.publish(t, time.Now(), move(w.bucket(), "gamma")) // and nobody tells the tracer
	w.front.snap = next
	w.want(Right, "")
	if w.view.newest() != 3 {
		t.Errorf("the newest map is %d, want that it was read", w.view.newest())
	}
}

func TestAProxyWithAVersionThatThisProcessNeverSawIsJudgedByThatVersion(t *testing.T) {
	t.Parallel()
	store := &fakeMap{}
	store.publish(t, time.Now().Add(-time.Hour), same)
	old := store.publish(t, time.Now().Add(-time.Minute), same)
	w := &world{t: t, store: store, front: newFront(t, old)}
	var err error
	o := testOptions(store, w.front)
	o.Grace = 5 * time.Second
	w.Tracer, err = New(o)
	must(t, err)
	// Every bucket of alpha leaves just before the tracers begin.
	store.publish(t, time.Now(), func(d *bucketmap.Draft) { must(t, d.SetHome(32, testBuckets-1, "gamma")) })
	must(t, w.Start(t.Context()))
	results, err := w.One(t.Context(), idOf(t, 32, testBuckets-1), true)
	must(t, err)
	for _, r := range results {
		if r.Outcome != Right || !strings.Contains(r.Why, "by version 2 of the map; version 3 is on its way") {
			t.Errorf("%s: %s %s", r.Kind, r.Outcome, r.Why)
		}
	}
}

// idOf is a user id of a bucket.
func idOf(t *testing.T, first, last bucketmap.BucketID) string {
	t.Helper()
	for n := range 10_000 {
		id := "u" + strings.Repeat("x", n%50) + string(rune('a'+n%26)) + strings.Repeat("y", n/50)
		if b := bucketmap.Bucket([]byte(id), testBuckets); b >= first && b <= last {
			return id
		}
	}
	t.Fatal("no id")
	return ""
}

func TestAMapThatCannotBeReadMakesNoVerdict(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.front.send = func(bucketmap.Decision) (bucketmap.Datacenter, string) { return "cloud", "bucket" }
	w.store.failing = errors.New("the store is down")
	w.want(Failed, "the newest map cannot be read: the store is down")
	if s := w.Status(); !strings.Contains(s.Error, "the store is down") {
		t.Errorf("status %+v", s)
	}
}

func TestWhatCannotBeJudgedIsAnError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*front)
		words  string
	}{
		"no version":     {func(f *front) { f.hide = true }, "does not tell its map version: set expose_headers"},
		"another status": {answers(http.StatusServiceUnavailable, `{"error": "no"}`), `status 503, want 200: "{\"error\": \"no\"}"`},
		"no JSON":        {answers(http.StatusOK, "hello"), "no JSON"},
		"no field":       {answers(http.StatusOK, `{"served": []}`), "the answer has no json:served.0.dc"},
		"a null":         {answers(http.StatusOK, `{"served": [{"dc": null}]}`), "is no text"},
		"a redirect":     {answers(http.StatusFound, ``), "status 302"},
		"a huge answer":  {answers(http.StatusOK, strings.Repeat(" ", answerMax+1)), "more than"},
		"a negative count": {answers(http.StatusOK, `{"served": [{"dc": "legacy", "shard": "alpha"}], "n": -1}`),
			"want a whole number"},
		"a count of words": {answers(http.StatusOK, `{"served": [{"dc": "legacy", "shard": "alpha"}], "n": "NaN"}`), "want a whole number"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			c.change(w.front)
			w.want(Failed, c.words)
		})
	}
}

func answers(status int, text string) func(*front) {
	return func(f *front) {
		f.answer = func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.Header().Set("Location", "/elsewhere")
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(text))
			return true
		}
	}
}

func TestTheAdminServerTellsVersionAndDigestWhereTheHeadersDoNot(t *testing.T) {
	t.Parallel()
	admin := func(o *Options) { o.Proxies[0].Admin = "later" }
	begin := func(t *testing.T) *world {
		w := newWorld(t, admin)
		w.doors[0].Admin = w.front.admin.URL
		w.front.hide = true
		return w
	}
	t.Run("right", func(t *testing.T) { begin(t).want(Right, "") })
	t.Run("stale", func(t *testing.T) {
		w := begin(t)
		w.front.snap = w.store.versions[0]
		w.want(Stale, "version 1")
	})
	t.Run("another map of the same version", func(t *testing.T) {
		w := begin(t)
		w.front.digest = w.store.versions[0].Digest().String()
		if w.front.digest == w.front.snap.Digest().String() {
			t.Fatal("the maps of the test are the same")
		}
		w.want(Misrouted, "another map than the published one of its version")
	})
	t.Run("another proxy's", func(t *testing.T) {
		w := begin(t)
		w.front.adminID = "edge-2"
		w.want(Failed, `that of proxy "edge-2": correct tracers.proxies`)
	})
	t.Run("gone", func(t *testing.T) {
		w := begin(t)
		w.front.admin.Close()
		w.want(Failed, "its admin server")
	})
}

func TestAProxyThatRunsAVersionThatIsNotPublishedIsJudgedByWhereItSends(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	canary := w.store.publish(t, time.Now(), move(w.bucket(), "gamma"))
	w.store.versions, w.store.records = w.store.versions[:2], w.store.records[1:]
	w.front.snap = canary
	w.want(Misrouted, "the proxy runs version 3, which is not published: a canary's, or another store's")
}

func TestARequestThatTakesTooLongIsLateUnlessItsBucketIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Late, o.Grace = 20*time.Millisecond, 100*time.Millisecond })
	slow := make(chan struct{})
	w.front.before = func(*http.Request) {
		select {
		case <-slow:
		case <-time.After(60 * time.Millisecond): // the fault itself
		}
	}
	w.want(Late, "and may take 20ms")
	u := w.view.list()[0]
	w.view.changed(w.store.publish(t, time.Now(), func(d *bucketmap.Draft) {
		d.Holds = []bucketmap.Hold{{First: u.bucket, Last: u.bucket, Move: "m1", Until: time.Now().Add(3 * time.Second).UTC().Truncate(time.Millisecond)}}
	}), nil)
	w.front.set(func() { w.front.snap = w.store.versions[2] })
	w.want(Right, "during a hold")
	close(slow)
}
