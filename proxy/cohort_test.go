package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/proxy/internal/config"
)

// cohortLine is one of the counters, such as "cloud moved 2xx".
var cohortLine = regexp.MustCompile(`drover_proxy_cohort_responses_total\{class="(\w+)",cohort="(\w+)",datacenter="(\w+)"\} (\S+)`)

// cohorts are the counters that are not 0.
func (r *rig) cohorts() map[string]float64 {
	r.t.Helper()
	got := map[string]float64{}
	for _, m := range cohortLine.FindAllStringSubmatch(r.adminGet("/metrics"), -1) {
		if v, err := strconv.ParseFloat(m[4], 64); err != nil || v != 0 {
			got[m[3]+" "+m[2]+" "+m[1]] = v
		}
	}
	return got
}

// wantCohorts waits until the requests are counted so, and no others. A request is
// counted a little after its client has the answer.
func (r *rig) wantCohorts(want map[string]float64) {
	r.t.Helper()
	sum, got := 0.0, map[string]float64{}
	for _, n := range want {
		sum += n
	}
	r.eventually(fmt.Sprint(sum, " requests in cohorts"), func() bool {
		got = r.cohorts()
		all := 0.0
		for _, n := range got {
			all += n
		}
		return all >= sum
	})
	if !maps.Equal(got, want) {
		r.t.Errorf("got %v, want %v", got, want)
	}
	if n := r.metric("drover_proxy_cohort_request_seconds_count"); n != sum {
		r.t.Errorf("%v times, want %v", n, sum)
	}
}

func (r *rig) known() float64 {
	r.t.Helper()
	return r.metric("drover_proxy_cohort_known_since_timestamp_seconds")
}

// ofCohort sums what took up to a bound.
func (r *rig) ofCohort(which, bound string) float64 {
	r.t.Helper()
	return r.metric("drover_proxy_cohort_request_seconds_bucket", `cohort="`+which+`"`, `le="`+bound+`"`)
}

func TestJustMovedUsersAreCountedApartAndOthersStay(t *testing.T) {
	t.Parallel()
	before := float64(time.Now().Unix())
	r := newRig(t, nil)
	if known := r.known(); known < before || known > float64(time.Now().Unix()+1) || r.metric("drover_proxy_cohort_window_seconds") != 3600 {
		t.Errorf("known since %v, window %v", known, r.metric("drover_proxy_cohort_window_seconds"))
	}
	r.want(r.get("ann"), 200, "legacy")
	r.want(r.get(""), 200, "legacy") // no user
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.apps[cloud].handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	r.want(r.get("ann"), 500, "")
	r.want(r.get("u1"), 200, "legacy")
	r.publish(moveTo(t, bucketOf("ann"), legacy)) // back home is a move, too
	r.want(r.get("ann"), 200, "legacy")
	r.publish(func(d *bucketmap.Draft) { // as a promotion does it
		if err := d.PutShard(bucketmap.Shard{Name: "shard-legacy", Datacenter: legacy, Epoch: 2}); err != nil {
			t.Error(err)
		}
	})
	r.want(r.get("u1"), 200, "legacy")
	r.wantCohorts(map[string]float64{"legacy stayed 2xx": 2, "cloud moved 5xx": 1, "legacy moved 2xx": 2})
}

func TestWhoComesToTheWhitelistOrLeavesItIsCountedAsMoved(t *testing.T) {
	t.Parallel()
	r, list := withList(t, "eve\n")
	r.want(r.get("ann"), 200, "legacy")
	r.want(r.get("eve"), 200, "cloud")
	r.wantCohorts(map[string]float64{"legacy stayed 2xx": 1, "cloud stayed 2xx": 1}) // whom it had from the first
	r.publish(func(d *bucketmap.Draft) { d.Whitelist["ann"] = cloud })
	r.want(r.get("ann"), 200, "cloud")
	r.publish(func(d *bucketmap.Draft) { delete(d.Whitelist, "ann") })
	r.want(r.get("ann"), 200, "legacy")
	writeFile(t, list, "bob\n")
	r.eventually("the file is read again", func() bool { return strings.Count(r.log.String(), "whitelist file in force") == 2 })
	r.want(r.get("bob"), 200, "cloud")
	r.want(r.get("eve"), 200, "legacy")
	r.want(r.get("u1"), 200, "legacy")
	r.wantCohorts(map[string]float64{
		"legacy stayed 2xx": 2, "cloud stayed 2xx": 1, // and these:
		"cloud moved 2xx": 2, "legacy moved 2xx": 2,
	})
}

func TestAHeldRequestCountsByTheMapThatLetItGoWithItsWait(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	const held = 30 * time.Millisecond // longer than anything else here is wanted to take
	r.publish(holdBucket(bucketOf("ann"), patience))
	get := r.later("GET", "ann", "")
	r.eventuallyHeld(1)
	begun := time.Now()
	r.eventually("it was held for a while", func() bool { return time.Since(begun) > held })
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(<-get, 200, "cloud")
	r.publish(holdBucket(bucketOf("u1"), time.Millisecond)) // steps back
	r.want(r.get("u1"), 200, "legacy")
	r.wantCohorts(map[string]float64{"cloud moved 2xx": 1, "legacy stayed 2xx": 1})
	if n := r.ofCohort("moved", "0.025"); n != 0 {
		t.Error("the wait is not in the held request's time")
	}
}

func TestARequestThatWas421CountsOnceByTheMapThatServedIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.RerouteWaitMax = patience })
	misdirect(r.apps[legacy], legacy, always)
	misdirect(r.apps[cloud], cloud, never)
	post := r.later("POST", "ann", "body")
	r.eventually("a 421", func() bool { return r.apps[legacy].served.Load() >= 1 })
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(<-post, 200, "cloud body")
	r.wantCohorts(map[string]float64{"cloud moved 2xx": 1})
}

func TestA421ThatCannotBeSentAgainIsItsClients4xx(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.ReplayBuffer = 4 })
	misdirect(r.apps[legacy], legacy, always)
	r.want(r.do("POST", "/", "ann", strings.NewReader("longer than four")), 421, "not here")
	r.wantCohorts(map[string]float64{"legacy stayed 4xx": 1})
}

func TestAFailoverCountsWhereItWentAndARefusalWhereItShouldHave(t *testing.T) {
	t.Parallel()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close() //nolint:errcheck // nobody listens there now
	for name, x := range map[string]struct {
		failover []string
		status   int
		body     string
		want     map[string]float64
	}{
		"failover":   {[]string{"legacy"}, 200, "legacy", map[string]float64{"legacy moved 2xx": 1}},
		"nowhere to": {nil, 502, "", map[string]float64{"cloud moved 5xx": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *config.Config) {
				c.Datacenters["cloud"] = config.Datacenter{Upstreams: []string{dead.Addr().String()}, Failover: x.failover}
			})
			r.publish(moveTo(t, bucketOf("ann"), cloud))
			if got := r.get("ann"); got.status != x.status || x.body != "" && got.body != x.body {
				t.Errorf("got %v", got)
			}
			r.wantCohorts(x.want)
		})
	}
}

func TestStreamsOfOneConnectionAreCountedInTheirOwnUsersCohorts(t *testing.T) {
	t.Parallel()
	r, client := newRig2(t, nil)
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	for range 3 {
		r.want(r.fetch(client, "GET", "/", "ann", nil), 200, "cloud")
		r.want(r.fetch(client, "GET", "/", "u1", nil), 200, "legacy")
		r.want(r.fetch(client, "GET", "/", "", nil), 200, "legacy")
	}
	r.wantCohorts(map[string]float64{"cloud moved 2xx": 3, "legacy stayed 2xx": 3})
}

func TestATunnelCountsWhenItEndsByItsDecisionAndItsTimeIsThatToItsBeginning(t *testing.T) {
	t.Parallel()
	address, ends := switching(t, "")
	r := newRig(t, keptLong(address))
	c := r.dial()
	c.send(strings.Replace(switchRequest, "Host: h\r\n", "Host: h\r\nX-User-Id: ann\r\n", 1))
	o := soon(t, "the request", ends)
	c.begun()
	begun := time.Now()
	r.publish(moveTo(t, bucketOf("ann"), cloud)) // it stays where it is
	r.want(r.get("ann"), 200, "cloud")
	r.wantCohorts(map[string]float64{"cloud moved 2xx": 1})
	r.eventually("it was there for longer than a beginning takes", func() bool { return time.Since(begun) > 150*time.Millisecond })
	c.Close()
	o.Close() //nolint:errcheck // a test's
	r.wantCohorts(map[string]float64{"cloud moved 2xx": 1, "legacy stayed 1xx": 1})
	if r.ofCohort("stayed", "0.1") != 1 || r.metric("drover_proxy_request_seconds_bucket", `datacenter="legacy"`, `le="0.1"`) != 0 {
		t.Error("its whole life is its time")
	}
}

func TestAClientThatGoesAndAnAnswerThatBreaksOffAreToldApart(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		answer string // of the application, before it waits or, with ends, breaks off
		ends   bool
		class  string
	}{
		"gone before the head": {"", false, "none"},
		"gone after the head":  {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false, "2xx"},
		"broken off":           {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", true, "5xx"},
		"broken off at once":   {"", true, "5xx"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan struct{}, 8)
			r := newRig(t, upstreams("cloud", bare(t, func(c net.Conn, in *bufio.Reader) {
				if _, _, err := takeRequest(in); err != nil {
					return
				}
				io.WriteString(c, x.answer) //nolint:errcheck // the client tells
				asked <- struct{}{}
				if !x.ends {
					io.Copy(io.Discard, in) //nolint:errcheck // until its end
				}
			})))
			r.publish(moveTo(t, bucketOf("ann"), cloud))
			c := r.dial()
			c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nX-User-Id: ann\r\n\r\n")
			soon(t, "the request", asked)
			if x.answer != "" {
				if _, err := c.ReadString('c'); err != nil {
					t.Fatal(err)
				}
			}
			if !x.ends {
				c.Close()
			}
			r.wantCohorts(map[string]float64{"cloud moved " + x.class: 1})
		})
	}
}

func TestAClientThatGoesWhileItIsHeldIsNoFaultOfTheApplications(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.publish(holdBucket(bucketOf("ann"), patience))
	c := r.dial()
	c.send("GET / HTTP/1.1\r\nHost: h\r\nX-User-Id: ann\r\n\r\n")
	r.eventuallyHeld(1)
	c.Close() // the point of the test
	r.wantCohorts(map[string]float64{"cloud moved client_gone": 1})
}

func TestWithNoWindowNothingIsCountedAndNothingKept(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *config.Config) { c.Cohort.Window = 0 })
	r.publish(moveTo(t, bucketOf("ann"), cloud))
	r.want(r.get("ann"), 200, "cloud")
	r.eventually("the request is counted", func() bool { return r.metric("drover_proxy_requests_total", `reason="bucket"`) == 1 })
	r.wantCohorts(nil)
	if r.known() != 0 || r.metric("drover_proxy_cohort_window_seconds") != 0 {
		t.Error("it says that it knows somebody")
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.config.Map.Cache + ".cohorts"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file of cohorts: %v", err)
	}
}
