package worker_test

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/worker"
)

var byQuery = []worker.Source{{Query: "user"}}

func TestHeldBucketIsToldWhenToComeAgainAndNothingIsSent(t *testing.T) {
	now := time.Now().Truncate(time.Millisecond)
	s := halves(t, func(d *bucketmap.Draft) {
		d.Holds = []bucketmap.Hold{
			{First: 0, Last: 1, Move: "m", Until: now.Add(90 * time.Second)},
			{First: 2, Last: 3, Move: "m", Until: now.Add(-time.Second)},
			{First: 4, Last: 4, Move: "m", Until: now.Add(1000 * time.Hour)},
			{Shard: "beta", Move: "n", Until: now.Add(60 * time.Second)},
		}
	})
	r := start(t, s, worker.Options{Identity: byQuery, HoldMax: 2 * time.Minute, ExposeHeaders: true}, nil)
	ofBucket := func(b bucketmap.BucketID) string {
		return userOf(s, func(d bucketmap.Decision) bool { return d.Bucket == b })
	}
	for _, c := range []struct {
		user string
		most int // seconds
	}{
		{ofBucket(0), 90}, {ofBucket(1), 90}, {ofBucket(4), 120}, {ofBucket(8), 60}, {ofBucket(15), 60},
	} {
		answer, text := r.do(http.MethodPost, "/x?user="+c.user, "body")
		after, err := strconv.Atoi(answer.Header.Get("Retry-After"))
		if answer.StatusCode != http.StatusServiceUnavailable || err != nil || after < 1 || after > c.most || after < c.most-30 {
			t.Errorf("%s: %s, Retry-After %q, want at most %d: %s", c.user, answer.Status, answer.Header.Get("Retry-After"), c.most, text)
		}
		if !strings.Contains(text, `"remedy"`) || answer.Header.Get("Drover-Route") != "bucket" || answer.Header.Get("Drover-Bucket") == "" {
			t.Errorf("%s: %v %s", c.user, answer.Header, text)
		}
	}
	if n := r.asked["legacy"].Load() + r.asked["cloud"].Load(); n != 0 {
		t.Errorf("%d held requests came through", n)
	}
	for _, user := range []string{ofBucket(2), ofBucket(5)} {
		r.get("/x?user="+user).want(t, user, told(s, user, s.Decide([]byte(user))))
	}
	r.get("/x").want(t, "nobody", told(s, "", s.Decide(nil)))
}

func TestHoldThatIsOverLetsRequestsGo(t *testing.T) {
	s := halves(t, func(d *bucketmap.Draft) {
		d.Holds = []bucketmap.Hold{{First: 0, Last: 15, Move: "m", Until: time.Now().Add(time.Hour).Truncate(time.Millisecond)}}
	})
	r := start(t, s, worker.Options{Identity: byQuery, HoldMax: 3 * time.Second}, nil)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		answer, text := r.do(http.MethodGet, "/x?user=ann", "")
		if answer.StatusCode == http.StatusOK {
			r.read(answer, text).want(t, "ann", told(s, "ann", s.Decide([]byte("ann"))))
			return
		}
		if after := answer.Header.Get("Retry-After"); after < "1" || after > "3" || time.Now().After(deadline) {
			t.Fatalf("%s, Retry-After %q", answer.Status, after)
		}
	}
}

func TestMisdirectedRequestGoesToTheOtherPlaceOnce(t *testing.T) {
	s := halves(t, func(d *bucketmap.Draft) { d.Datacenters = append(d.Datacenters, "third") })
	user := userOf(s, at("cloud"))
	bucket := strconv.Itoa(int(s.Decide([]byte(user)).Bucket))
	rerouted := func(datacenter string) string {
		return datacenter + " failover user=" + strconv.Quote(user) + " bucket=" + bucket + " version=999999999999"
	}
	small, large := strings.Repeat("s", 64<<10), strings.Repeat("l", 64<<10+1)
	for _, c := range []struct {
		name    string
		answers http.HandlerFunc // of cloud
		body    string
		status  int
		goes    string
	}{
		{"to the source", misdirected(""), "", 200, "legacy"},
		{"where it says", misdirected("third"), "", 200, "third"},
		{"to no unknown place", misdirected("nowhere"), "", 200, "legacy"},
		{"with its body", misdirected("third"), small, 200, "third"},
		{"not with a long body", misdirected("third"), large, 421, ""},
		{"not to the same place", misdirected("cloud"), "", 503, ""},
		{"not without a version", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMisdirectedRequest) }, "", 421, ""},
		{"not with a version that is none", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Drover-Map-Version", "18446744073709551616")
			w.WriteHeader(http.StatusMisdirectedRequest)
		}, "", 421, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, s, worker.Options{Identity: byQuery}, map[bucketmap.Datacenter]http.HandlerFunc{"cloud": c.answers})
			answer, text := r.do(http.MethodPost, "/x?user="+user, c.body)
			if answer.StatusCode != c.status || (answer.Header.Get("Retry-After") != "") != (c.status == 503) {
				t.Fatalf("%s %v, want %d: %.200s", answer.Status, answer.Header, c.status, text)
			}
			if answer.Header.Get("Drover-Map-Version") != "" {
				t.Error("the client sees Drover-Map-Version")
			}
			if c.goes != "" {
				got := r.read(answer, text)
				got.want(t, c.name, rerouted(c.goes))
				if got.Body != c.body || got.Method != http.MethodPost {
					t.Errorf("%s with %d bytes, want %d", got.Method, len(got.Body), len(c.body))
				}
			}
			if n := r.asked["cloud"].Load(); n != 1 {
				t.Errorf("cloud was asked %d times", n)
			}
		})
	}
}

func TestRequestThatIsMisdirectedTwiceIsNotSentThrice(t *testing.T) {
	s := halves(t, nil)
	r := start(t, s, worker.Options{Identity: byQuery}, map[bucketmap.Datacenter]http.HandlerFunc{
		"cloud": misdirected("legacy"), "legacy": misdirected("cloud"),
	})
	answer, text := r.do(http.MethodGet, "/x?user=emp-1", "")
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") != "1" {
		t.Errorf("%s %v %s", answer.Status, answer.Header, text)
	}
	if c, l := r.asked["cloud"].Load(), r.asked["legacy"].Load(); c != 1 || l != 1 {
		t.Errorf("cloud was asked %d times, legacy %d", c, l)
	}
}

func TestPinnedDefaultIsTheOtherPlace(t *testing.T) {
	s := halves(t, func(d *bucketmap.Draft) {
		d.Default = bucketmap.Default{Datacenter: "third"}
		d.Datacenters = append(d.Datacenters, "third")
	})
	r := start(t, s, worker.Options{Identity: byQuery}, map[bucketmap.Datacenter]http.HandlerFunc{
		"cloud": misdirected(""), "third": misdirected(""),
	})
	if answer, text := r.do(http.MethodGet, "/x?user=emp-1", ""); answer.StatusCode != http.StatusServiceUnavailable || r.asked["third"].Load() != 1 {
		t.Errorf("%s, third was asked %d times: %s", answer.Status, r.asked["third"].Load(), text)
	}
	if answer, text := r.do(http.MethodGet, "/x", ""); answer.StatusCode != http.StatusServiceUnavailable || r.asked["third"].Load() != 2 { // it has no other
		t.Errorf("%s, third was asked %d times: %s", answer.Status, r.asked["third"].Load(), text)
	}
}

// closedPort returns an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := listener.Addr().String()
	must(t, listener.Close())
	return address
}

func TestIdempotentRequestFailsOverAndNoOther(t *testing.T) {
	s := halves(t, func(d *bucketmap.Draft) { d.Datacenters = append(d.Datacenters, "third") })
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			connection.Close()
		}
	}
	r := start(t, s, worker.Options{
		Identity: byQuery, ExposeHeaders: true,
		Failover: map[bucketmap.Datacenter][]bucketmap.Datacenter{"cloud": {"third", "legacy"}},
	}, map[bucketmap.Datacenter]http.HandlerFunc{"cloud": hangUp, "third": hangUp})
	for method, want := range map[string]int{"GET": 200, "PUT": 200, "DELETE": 200, "POST": 502, "PATCH": 502} {
		body := ""
		if method != "GET" && method != "DELETE" {
			body = "b"
		}
		answer, text := r.do(method, "/x?user=emp-1", body)
		if answer.StatusCode != want {
			t.Errorf("%s: %s %s", method, answer.Status, text)
			continue
		}
		if want == 200 {
			got := r.read(answer, text)
			if got.Upstream != "legacy" || got.Header.Get("Drover-Route") != "failover" || got.Body != body {
				t.Errorf("%s: %+v", method, got)
			}
			if answer.Header.Get("Drover-Datacenter") != "legacy" || answer.Header.Get("Drover-Route") != "failover" {
				t.Errorf("%s: exposed %v", method, answer.Header)
			}
		}
	}
	// A body that is not kept is sent once.
	if answer, _ := r.do(http.MethodPut, "/x?user=emp-1", strings.Repeat("l", 64<<10+1)); answer.StatusCode != http.StatusBadGateway {
		t.Errorf("a long PUT: %s", answer.Status)
	}
}

func TestDatacenterThatIsDownIsBadGateway(t *testing.T) {
	s := halves(t, nil)
	dir := t.TempDir()
	must(t, worker.Export(dir, s, worker.Options{Identity: byQuery, Upstreams: map[bucketmap.Datacenter]string{
		"legacy": "http://" + closedPort(t), "cloud": "http://" + closedPort(t) + "/",
	}}))
	r := &rig{t: t, addr: serve(t, dir), client: http.DefaultClient}
	answer, text := r.do(http.MethodGet, "/x?user=ann", "")
	if answer.StatusCode != http.StatusBadGateway || !strings.Contains(text, "remedy") || answer.Header.Get("Drover-Route") != "" {
		t.Errorf("%s %v %s", answer.Status, answer.Header, text)
	}
}

func TestOnCloudflareItsOwnWordsAreUnderstood(t *testing.T) {
	s := halves(t, nil)
	o := worker.Options{Identity: byQuery, Failover: map[bucketmap.Datacenter][]bucketmap.Datacenter{"cloud": {"legacy"}}}
	handlers := map[bucketmap.Datacenter]http.HandlerFunc{"cloud": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(521) // the web server is down
	}}
	headers := []string{"Cf-Connecting-Ip", "192.0.2.7", "X-Forwarded-For", "6.6.6.6"}
	r := startOn(t, "cloudflare", s, o, handlers)
	got := r.get("/x?user=emp-1", headers...)
	if got.Upstream != "legacy" || got.Header.Get("X-Forwarded-For") != "192.0.2.7" {
		t.Errorf("%+v", got)
	}
	if answer, _ := r.do(http.MethodPost, "/x?user=emp-1", "b"); answer.StatusCode != 521 {
		t.Errorf("POST: %s", answer.Status)
	}
	o.TrustClients = true
	r = startOn(t, "cloudflare", s, o, handlers)
	if got := r.get("/x", headers...); got.Header.Get("X-Forwarded-For") != "6.6.6.6, 192.0.2.7" {
		t.Errorf("behind a front: %v", got.Header)
	}
	// On workerd such a status is the application's.
	r = start(t, s, o, handlers)
	if answer, _ := r.do(http.MethodGet, "/x?user=emp-1", ""); answer.StatusCode != 521 {
		t.Errorf("on workerd: %s", answer.Status)
	}
}
