package console

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/file"
)

// told is what an event's data says.
func reported(t *testing.T, h happened) report {
	t.Helper()
	var r report
	must(t, json.Unmarshal([]byte(h.data), &r))
	return r
}

func TestAPublicationIsADeltaThatLeadsFromOneGridToTheNext(t *testing.T) {
	t.Parallel()
	y := open(t, nil)
	l := y.follow("")
	l.await("map", `"version":1`)
	code, grid := y.send(y.browser(nil), http.MethodGet, "/api/grid", "", "Authorization", "Bearer "+reader)
	y.status(http.StatusOK, code, "the grid")
	y.move(17, 19)
	h := l.await("grid", `"to":2`)
	if want := `{"from":1,"to":2,"runs":[[17,19,2]]}`; h.data != want {
		t.Errorf("%s, want %s", h.data, want)
	}
	l.await("users", `,2,3,61]`)
	head := l.await("map", `"version":2`)
	if !strings.Contains(head.data, `{"name":"gamma","datacenter":"cloud","epoch":1,"buckets":3}`) {
		t.Error(head.data)
	}
	homes := []byte(grid)
	for b := 17; b <= 19; b++ {
		binary.LittleEndian.PutUint16(homes[2*b:], 2)
	}
	if _, now := y.send(y.browser(nil), http.MethodGet, "/api/grid", "", "Authorization", "Bearer "+reader, "Accept-Encoding", "identity"); now != string(homes) {
		t.Errorf("the grid is %x, want %x", now, homes)
	}
}

func TestWhoComesAgainGetsWhatIsNewerAndNothingElse(t *testing.T) {
	t.Parallel()
	y := open(t, nil)
	l := y.follow("")
	y.talker.says <- told{value: "one"}
	l.await("talk", "one")
	y.move(1, 1)
	last := l.await("users", ",2,1,63]")
	l.end()
	y.move(2, 2)
	watcher := y.follow("")
	watcher.await("users", ",3,2,62]")

	again := y.follow(last.id)
	seen := map[string]string{}
	for len(seen) < 3 {
		h := again.next()
		if h.topic == "talk" {
			t.Fatalf("it is told again: %s", h.data)
		}
		seen[h.topic] = h.data
	}
	if seen["grid"] != `{"from":2,"to":3,"runs":[[2,2,2]]}` {
		t.Errorf("the grid's change is %s", seen["grid"])
	}
	// The id of another run is no use: everything is told.
	for _, id := range []string{"other.1", last.id + "999999", "nonsense", "."} {
		stranger := y.follow(id)
		stranger.await("talk", "one")
		stranger.end()
	}
}

func TestASlowBrowserIsCutOffAndNobodyWaitsForIt(t *testing.T) {
	t.Parallel()
	h := newHub(time.Now)
	slow, _, err := h.join("")
	must(t, err)
	quick, _, err := h.join("")
	must(t, err)
	for i := range streamBuffer + 1 {
		h.publish("talk", fmt.Append(nil, i))
		<-quick.events
	}
	select {
	case <-slow.gone:
	default:
		t.Error("the slow one is still there")
	}
	select {
	case <-quick.gone:
		t.Error("the quick one is gone")
	default:
	}
	for range streamsMax - 1 {
		_, _, err := h.join("")
		must(t, err)
	}
	if _, _, err := h.join(""); !errors.Is(err, errManyStreams) {
		t.Errorf("one too many: %v", err)
	}
	h.leave(quick)
	if _, _, err := h.join(""); err != nil {
		t.Error(err)
	}
}

func TestWhatDidNotChangeIsNotSentAgain(t *testing.T) {
	t.Parallel()
	h := newHub(time.Now)
	s, _, err := h.join("")
	must(t, err)
	var last report
	for range 3 {
		last = h.tell("talk", last, told{value: "one", has: true})
	}
	if n := len(s.events); n != 1 {
		t.Errorf("sent %d times", n)
	}
	// What cannot be shown takes nothing away.
	for _, v := range []any{make(chan int), strings.Repeat("x", topicBytesMax)} {
		if last = h.tell("talk", last, told{value: v, has: true}); last.Error == "" || string(last.Value) != `"one"` {
			t.Errorf("%+v", last)
		}
	}
}

func TestASourceThatFailsIsShownAsOldSinceThenAndAskedAgain(t *testing.T) {
	t.Parallel()
	y := open(t, nil)
	l := y.follow("")
	y.talker.says <- told{value: 1}
	l.await("talk", "1")
	y.talker.says <- told{err: errTalk}
	first := reported(t, l.await("talk", "the talker"))
	if string(first.Value) != "1" || first.Since.IsZero() {
		t.Errorf("%+v", first)
	}
	y.talker.says <- told{err: fmt.Errorf("again: %w", errTalk)}
	if again := reported(t, l.await("talk", "again")); !again.Since.Equal(first.Since) {
		t.Errorf("old since %s, then since %s", first.Since, again.Since)
	}
	y.talker.says <- told{value: 2}
	if now := reported(t, l.await("talk", "2")); now.Error != "" {
		t.Errorf("%+v", now)
	}
}

func TestWhatWasSaidJustBeforeAFailureIsNotLost(t *testing.T) {
	t.Parallel()
	h := newHub(time.Now)
	s, _, err := h.join("")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.follow(ctx, brief{}) }()
	for {
		var r report
		must(t, json.Unmarshal((<-s.events).data, &r))
		if r.Error != "" {
			if string(r.Value) != `"the last word"` {
				t.Errorf("%+v", r)
			}
			break
		}
	}
	cancel()
	must(t, <-ended)
}

// brief says something and fails.
type brief struct{}

func (brief) Topic() string { return "brief" }
func (brief) Watch(_ context.Context, tell func(any)) error {
	tell("the last word")
	return errTalk
}

func TestAnUnreadableMapLeavesTheOldOneOnThePageAndSaysSo(t *testing.T) {
	t.Parallel()
	maps := &saidMaps{says: make(chan said)}
	y := open(t, func(o *Options) { o.Maps = maps })
	l := y.follow("")
	code, _ := y.send(y.browser(nil), http.MethodGet, "/api/grid", "", "Authorization", "Bearer "+reader)
	y.status(http.StatusServiceUnavailable, code, "the grid of no map")
	snap := firstMap(t, 64)
	maps.says <- said{snap, nil}
	l.await("map", `"version":1`)
	maps.says <- said{nil, errTalk}
	if r := reported(t, l.await("map", "the talker")); !strings.Contains(string(r.Value), `"version":1`) {
		t.Errorf("%+v", r)
	}
	l.await("users", "the history of the map")
	// A map of another size is no delta.
	other := firstMap(t, 128)
	maps.says <- said{other, nil}
	l.await("grid", `"anew":true`)
}

type said struct {
	snap *bucketmap.Snapshot
	err  error
}

// saidMaps says what the test says, and has no history.
type saidMaps struct {
	file.Store
	says chan said
}

func (m *saidMaps) Watch(ctx context.Context, changed func(*bucketmap.Snapshot, error)) error {
	for {
		select {
		case s := <-m.says:
			changed(s.snap, s.err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *saidMaps) History(context.Context) ([]bucketmap.Record, error) { return nil, errTalk }

func TestAChangeThatIsTooLongToSendIsAskedForAnew(t *testing.T) {
	t.Parallel()
	from := firstMap(t, 8192)
	d := from.Edit()
	for b := bucketmap.BucketID(0); b < 8192; b += 3 {
		must(t, d.SetHome(b, b, "gamma"))
	}
	to, err := d.Snapshot()
	must(t, err)
	if c := changeOf(from, to); !c.Anew || c.Runs != nil {
		t.Errorf("%+v", c)
	}
	if c := changeOf(to, from); !c.Anew {
		t.Errorf("a map that is older is a change: %+v", c)
	}
	d = from.Edit()
	must(t, d.PutShard(bucketmap.Shard{Name: "beta", Datacenter: "cloud"}))
	more, err := d.Snapshot()
	must(t, err)
	if c := changeOf(from, more); !c.Anew {
		t.Errorf("a shard more has other numbers: %+v", c)
	}
}

func TestTheCurveGoesThroughTheHistoryAndStaysShort(t *testing.T) {
	t.Parallel()
	var s series
	at := time.Unix(0, 0)
	for v := range bucketmap.Version(5 * pointsMax) {
		s.add(point{at.Add(time.Duration(v) * time.Second), v + 1, nil}, false)
	}
	if n := len(s.points); n > pointsMax || s.points[0].version != 1 || s.points[n-1].version != 5*pointsMax {
		t.Errorf("%d points, from %d to %d", n, s.points[0].version, s.points[n-1].version)
	}
	s.add(point{at.Add(-time.Hour), 1, nil}, true)
	if !s.points[0].at.Equal(at.Add(-time.Hour)) {
		t.Error("the history's time does not count")
	}
	records := make([]bucketmap.Record, 1000)
	for i := range records {
		records[i].Version = bucketmap.Version(1000 - i)
	}
	some := sampled(records, samplesMax)
	if len(some) != samplesMax || some[0].Version != 1000 || some[samplesMax-1].Version != 1 {
		t.Errorf("%d of them, from %d to %d", len(some), some[0].Version, some[samplesMax-1].Version)
	}
}

func TestAStreamEndsWithItsSession(t *testing.T) {
	t.Parallel()
	y := open(t, nil)
	c := y.browser(nil)
	y.login(c, reader)
	who := &identity{}
	for _, s := range y.server.door.mu.sessions {
		who.session = s
	}
	if !y.server.stillIn(who) {
		t.Fatal("not in")
	}
	code, _ := y.send(c, http.MethodPost, "/logout", "")
	y.status(http.StatusSeeOther, code, "logout")
	if y.server.stillIn(who) {
		t.Error("in after a logout")
	}
}

func TestAGrowingTopicIsWholeForWhoComesAndAChangeForWhoFollows(t *testing.T) {
	t.Parallel()
	y := open(t, nil)
	first := y.follow("")
	first.await("map", `"version":1`)
	says := func(n int) {
		y.talker.says <- told{value: Growing{Whole: fmt.Sprintf("all %d", n), Change: fmt.Sprintf("more %d", n)}}
	}
	says(1)
	// Nobody has had anything: the first is the whole.
	had := first.await("talk", `"value":"all 1"`)
	says(2)
	last := first.await("talk", `"value":"more 2"`)
	y.follow("").await("talk", `"value":"all 2"`)
	y.follow(had.id).await("talk", `"value":"all 2"`)
	again := y.follow(last.id)
	says(3)
	if h := again.await("talk", ""); h.data != `{"value":"more 3"}` {
		t.Errorf("who has had the newest gets %s", h.data)
	}
	// What is wrong is told with the whole, and over with the next change.
	first.await("talk", `"value":"more 3"`)
	y.talker.says <- told{err: errTalk}
	if r := reported(t, first.await("talk", "all 3")); !strings.Contains(r.Error, "the talker") || r.Since.IsZero() {
		t.Errorf("%+v", r)
	}
	says(4)
	if h := first.await("talk", ""); h.data != `{"value":"more 4"}` {
		t.Errorf("after the error it gets %s", h.data)
	}
}

func TestUsersAreCountedByWhatChangesAsByAllThereIs(t *testing.T) {
	t.Parallel()
	f := &feed{weight: func(b bucketmap.BucketID) uint64 { return uint64(b)*7 + 1 }}
	random := rand.New(rand.NewPCG(5, 6))
	snap := firstMap(t, 1000)
	shards := []bucketmap.ShardName{"alpha", "gamma", "beta", ""}
	for step := range 200 {
		if now, all := f.usersNow(snap), f.usersOf(snap); !maps.Equal(now, all) {
			t.Fatalf("step %d: counted %v, want %v", step, now, all)
		}
		d := snap.Edit()
		switch step % 20 {
		case 5: // a shard more
			must(t, d.PutShard(bucketmap.Shard{Name: "beta", Datacenter: "legacy"}))
		case 10: // a promotion
			must(t, d.PutShard(bucketmap.Shard{Name: "beta", Datacenter: "cloud", Epoch: bucketmap.Epoch(step)}))
		default:
			first := bucketmap.BucketID(random.IntN(1000))
			to := shards[random.IntN(len(shards))]
			if _, ok := snap.Shard(to); !ok && to != "" {
				continue
			}
			must(t, d.SetHome(first, min(999, first+bucketmap.BucketID(random.IntN(50))), to))
		}
		d.Declare(snap)
		next, err := d.Snapshot()
		must(t, err)
		snap = next
	}
}
