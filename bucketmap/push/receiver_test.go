package push

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/storetest"
	"drover/bucketmap/yaml"
)

// request sends one request and returns the status and the body.
func request(t testing.TB, method, url string, header map[string]string, body io.Reader) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), method, url, body)
	must(t, err)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(text), resp.Header
}

func typed(contentType string) map[string]string {
	return map[string]string{"Content-Type": contentType}
}

func secondOf(t testing.TB, m *bucketmap.Snapshot) *bucketmap.Snapshot {
	t.Helper()
	d := m.Edit()
	d.Whitelist["emp-2"] = "cloud"
	next, err := d.Snapshot()
	must(t, err)
	return next
}

func yamlOf(t testing.TB, m *bucketmap.Snapshot) []byte {
	t.Helper()
	text, err := yaml.Encode(m)
	must(t, err)
	return text
}

func keys(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	return public, private
}

func TestAMapIsTakenInEveryForm(t *testing.T) {
	one := storetest.First(t)
	two := secondOf(t, one)
	for name, c := range map[string]struct {
		header map[string]string
		body   []byte
	}{
		"whole":                   {typed(ContentTypeMap), binary.Append(nil, two, nil)},
		"whole with parameters":   {typed(ContentTypeMap + "; v=1"), binary.Append(nil, two, nil)},
		"whole, untyped":          {nil, binary.Append(nil, two, nil)},
		"delta":                   {typed(ContentTypeDelta), binary.AppendDelta(nil, binary.MakeDelta(one, two), nil)},
		"delta, untyped":          {nil, binary.AppendDelta(nil, binary.MakeDelta(one, two), nil)},
		"yaml":                    {typed("application/yaml"), yamlOf(t, two)},
		"yaml as curl sends it":   {typed("application/x-www-form-urlencoded"), yamlOf(t, two)},
		"yaml, senselessly typed": {typed(";;;"), yamlOf(t, two)},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, setup{id: "p1"})
			must(t, e.offer(t.Context(), one))
			for range 2 { // the second time it is in force already
				status, body, _ := request(t, http.MethodPut, e.server.URL+"/map", c.header, bytes.NewReader(c.body))
				var ack wireAck
				must(t, json.Unmarshal([]byte(body), &ack))
				if status != 200 || ack.Proxy != "p1" || ack.Version != 2 || ack.Digest != two.Digest().String() || ack.Since.IsZero() {
					t.Fatalf("got %d %s", status, body)
				}
			}
			if !e.mu.current.Equal(two) {
				t.Fatal("another map is in force")
			}
		})
	}
}

func TestWhatIsNoMapIsRefusedAndTheMapInForceStays(t *testing.T) {
	one := storetest.First(t)
	two := secondOf(t, one)
	three := secondOf(t, two)
	whole, delta := binary.Append(nil, two, nil), binary.AppendDelta(nil, binary.MakeDelta(one, two), nil)
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 1
	other := bucketmap.NewDraft(128)
	other.Version, other.Default.Datacenter = 2, "legacy"
	must(t, other.PutShard(bucketmap.Shard{Name: "alpha", Datacenter: "legacy"}))
	must(t, other.SetHome(0, 127, "alpha"))
	count, err := other.Snapshot()
	must(t, err)
	for name, c := range map[string]struct {
		header map[string]string
		body   []byte
		status int
		rule   bucketmap.Rule
	}{
		"empty":                {nil, nil, 400, "unreadable"},
		"nonsense":             {nil, []byte("nonsense"), 400, "unreadable"},
		"zeroes":               {nil, make([]byte, 1000), 400, "unreadable"},
		"half a map":           {typed(ContentTypeMap), whole[:len(whole)/2], 400, "unreadable"},
		"a damaged map":        {typed(ContentTypeMap), damaged, 400, "unreadable"},
		"a longer map":         {typed(ContentTypeMap), append(bytes.Clone(whole), 0), 400, "unreadable"},
		"yaml called binary":   {typed(ContentTypeMap), yamlOf(t, two), 400, "unreadable"},
		"a map called delta":   {typed(ContentTypeDelta), whole, 400, "unreadable"},
		"half a delta":         {typed(ContentTypeDelta), delta[:len(delta)-1], 400, "unreadable"},
		"a delta from above":   {typed(ContentTypeDelta), binary.AppendDelta(nil, binary.MakeDelta(two, three), nil), 412, "delta"},
		"the version again":    {nil, binary.Append(nil, mustVersion(t, two, 1), nil), 409, "version"},
		"another bucket count": {nil, binary.Append(nil, count, nil), 409, "buckets"},
		"compressed":           {map[string]string{"Content-Encoding": "gzip"}, whole, 415, "encoding"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, setup{id: "p1"})
			must(t, e.offer(t.Context(), one))
			status, body, _ := request(t, http.MethodPut, e.server.URL+"/map", c.header, bytes.NewReader(c.body))
			var r wireRefusal
			must(t, json.Unmarshal([]byte(body), &r))
			if status != c.status || r.Rule != c.rule || r.Error == "" || r.Remedy == "" || r.Ack == nil || r.Ack.Version != 1 {
				t.Fatalf("got %d %s, want %d %s", status, body, c.status, c.rule)
			}
			if !e.mu.current.Equal(one) {
				t.Fatal("another map is in force")
			}
		})
	}
}

func mustVersion(t testing.TB, m *bucketmap.Snapshot, version bucketmap.Version) *bucketmap.Snapshot {
	t.Helper()
	d := m.Edit()
	d.Version = version
	s, err := d.Snapshot()
	must(t, err)
	return s
}

func TestADeltaForNoMapIsNotTaken(t *testing.T) {
	e := newEdge(t, setup{id: "p1"})
	one := storetest.First(t)
	delta := binary.AppendDelta(nil, binary.MakeDelta(one, secondOf(t, one)), nil)
	if status, body, _ := request(t, http.MethodPut, e.server.URL+"/map", typed(ContentTypeDelta), bytes.NewReader(delta)); status != 412 {
		t.Fatalf("got %d %s", status, body)
	}
}

func TestOnlyWhatAKnownKeySignedIsTaken(t *testing.T) {
	public, private := keys(t)
	another, private2 := keys(t)
	_, stranger := keys(t)
	one := storetest.First(t)
	two := secondOf(t, one)
	delta := func(key ed25519.PrivateKey) []byte { return binary.AppendDelta(nil, binary.MakeDelta(one, two), key) }
	for name, c := range map[string]struct {
		body   []byte
		status int
	}{
		"signed":                  {binary.Append(nil, two, private), 200},
		"signed by the other key": {binary.Append(nil, two, private2), 200},
		"delta signed":            {delta(private), 200},
		"unsigned":                {binary.Append(nil, two, nil), 403},
		"by a stranger":           {binary.Append(nil, two, stranger), 403},
		"delta unsigned":          {delta(nil), 403},
		"delta by a stranger":     {delta(stranger), 403},
		"yaml":                    {yamlOf(t, two), 403},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, setup{id: "p1", options: ReceiverOptions{Keys: []ed25519.PublicKey{public, another}}})
			must(t, e.offer(t.Context(), one))
			status, body, _ := request(t, http.MethodPut, e.server.URL+"/map", nil, bytes.NewReader(c.body))
			if status != c.status || status == 403 && !strings.Contains(body, `"rule":"signature"`) {
				t.Fatalf("got %d %s, want %d", status, body, c.status)
			}
			if status != 200 && e.version() != 1 {
				t.Fatal("another map is in force")
			}
		})
	}
}

func TestAPublisherSignsWhatItSends(t *testing.T) {
	ctx := testContext(t)
	public, private := keys(t)
	e := newEdge(t, setup{id: "p1", options: ReceiverOptions{Keys: []ed25519.PublicKey{public}}})
	dir := t.TempDir()
	signing := open(t, Options{Dir: dir, Proxies: []string{e.server.URL}, Sign: private})
	first(t, ctx, signing)
	more(t, ctx, signing)
	wantTypes(t, e, ContentTypeMap, ContentTypeDelta)
	if e.version() != 2 {
		t.Fatalf("version %d", e.version())
	}
	not := open(t, Options{Dir: dir, Proxies: []string{e.server.URL}})
	more(t, ctx, not)
	var failed *ProxyError
	if err := not.Push(ctx); !errors.As(err, &failed) || failed.Status != 403 || failed.Rule != bucketmap.RuleSignature {
		t.Fatalf("Push returned %v", err)
	}
	must(t, signing.Push(ctx))
	if e.version() != 3 {
		t.Fatalf("version %d", e.version())
	}
}

func TestTheTokenIsWantedOfEveryRequest(t *testing.T) {
	ctx := testContext(t)
	e := newEdge(t, setup{id: "p1", options: ReceiverOptions{Token: "s3cret"}})
	body := string(binary.Append(nil, storetest.First(t), nil))
	for _, given := range []string{"", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "s3cret"} {
		for _, c := range [][2]string{{http.MethodPut, "/map"}, {http.MethodGet, "/map/ack"}, {http.MethodGet, "/else"}} {
			status, text, header := request(t, c[0], e.server.URL+c[1], map[string]string{"Authorization": given}, strings.NewReader(body))
			if status != 401 || header.Get("WWW-Authenticate") == "" || !strings.Contains(text, `"rule":"token"`) || strings.Contains(text, "p1") {
				t.Errorf("%s %s with %q: got %d %s", c[0], c[1], given, status, text)
			}
		}
	}
	if e.version() != 0 {
		t.Fatal("a map came into force without the token")
	}
	wrong := open(t, Options{Proxies: []string{e.server.URL}, Token: "wrong"})
	first(t, ctx, wrong)
	acks, err := wrong.Acks(ctx)
	must(t, err)
	wantText(t, acks[0].Reason, "unreachable: ", "401", "the token is wanted")
	first(t, ctx, open(t, Options{Proxies: []string{e.server.URL}, Token: "s3cret"}))
	if e.version() != 1 {
		t.Fatal("the map with the token is not in force")
	}
}

func TestUnknownPathsAndMethodsAreAnsweredInJSON(t *testing.T) {
	e := newEdge(t, setup{id: "p1"})
	for path, want := range map[string]int{"/map": 405, "/map/": 404, "/": 404, "/map/ack": 405} {
		method := http.MethodPost
		status, body, _ := request(t, method, e.server.URL+path, nil, strings.NewReader("x"))
		var r wireRefusal
		if err := json.Unmarshal([]byte(body), &r); err != nil || status != want || r.Remedy == "" {
			t.Errorf("%s %s: got %d %s", method, path, status, body)
		}
	}
}

func TestATooLargeBodyIsRefusedHoweverItIsSent(t *testing.T) {
	e := newEdge(t, setup{id: "p1", options: ReceiverOptions{BodyMax: 1000}})
	for name, body := range map[string]io.Reader{
		"announced":   bytes.NewReader(make([]byte, 1001)),
		"unannounced": io.MultiReader(bytes.NewReader(make([]byte, 900)), bytes.NewReader(make([]byte, 900))),
	} {
		status, text, _ := request(t, http.MethodPut, e.server.URL+"/map", nil, body)
		if status != 413 || !strings.Contains(text, `"rule":"size"`) {
			t.Errorf("%s: got %d %s", name, status, text)
		}
	}
}

// dribble opens a PUT of which the body never comes.
func dribble(t testing.TB, e *edge) net.Conn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(testContext(t), "tcp", e.server.Listener.Addr().String())
	must(t, err)
	t.Cleanup(func() { c.Close() })
	_, err = fmt.Fprintf(c, "PUT /map HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
	must(t, err)
	return c
}

func TestWhoHasNoTokenIsNotWaitedFor(t *testing.T) {
	e := newEdge(t, setup{id: "p1", options: ReceiverOptions{Token: "s3cret"}})
	c := dribble(t, e)
	must(t, c.SetReadDeadline(time.Now().Add(testMax)))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("got %d", resp.StatusCode)
	}
}

func TestABodyThatNeverEndsIsGivenUp(t *testing.T) {
	e := newEdge(t, setup{id: "p1", options: ReceiverOptions{BodyWait: 50 * time.Millisecond}})
	c := dribble(t, e)
	must(t, c.SetReadDeadline(time.Now().Add(testMax)))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Fatalf("got %d", resp.StatusCode)
	}
	if e.Receiver.mu.fails != 0 {
		t.Fatal("a body that ended early is counted as a bad map")
	}
}

func TestSlowBodiesNeverTakeMoreThanTheirPlaces(t *testing.T) {
	e := newEdge(t, setup{id: "p1"})
	for range putsMax {
		dribble(t, e)
	}
	body := binary.Append(nil, storetest.First(t), nil)
	busy := false
	for ctx := testContext(t); !busy; { // until all of them have arrived
		must(t, ctx.Err())
		status, text, header := request(t, http.MethodPut, e.server.URL+"/map", nil, bytes.NewReader(body))
		busy = status == 503 && header.Get("Retry-After") != "" && strings.Contains(text, `"rule":"busy"`)
		if !busy && status != 200 {
			t.Fatalf("got %d %s", status, text)
		}
	}
	if status, _, _ := request(t, http.MethodGet, e.server.URL+"/map/ack", nil, nil); status != 200 {
		t.Fatalf("the acknowledgement was answered %d", status)
	}
}

func TestAClientThatGoesAwayStopsNothing(t *testing.T) {
	e := newEdge(t, setup{id: "p1"})
	block, entered := make(chan struct{}), make(chan struct{}, 1)
	e.mu.block, e.mu.entered = block, entered
	ctx, cancel := context.WithCancel(testContext(t))
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, e.server.URL+"/map", bytes.NewReader(binary.Append(nil, storetest.First(t), nil)))
	must(t, err)
	var group sync.WaitGroup
	group.Go(func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			t.Error("an answer before the map was in force")
		}
	})
	<-entered
	cancel()
	group.Wait()
	close(block)
	ack, _, changed := e.acknowledged()
	for ack.Version != 1 {
		select {
		case <-changed:
			ack, _, changed = e.acknowledged()
		case <-time.After(testMax):
			t.Fatal("the map never came into force")
		}
	}
}

func TestAMapThatDoesNotComeIntoForceInTimeIsNotConfirmed(t *testing.T) {
	e := newEdge(t, setup{id: "p1", options: ReceiverOptions{ForceWait: 20 * time.Millisecond}})
	e.mu.block = make(chan struct{})
	status, body, _ := request(t, http.MethodPut, e.server.URL+"/map", nil, bytes.NewReader(binary.Append(nil, storetest.First(t), nil)))
	if status != 503 || !strings.Contains(body, `"rule":"not_in_force"`) {
		t.Fatalf("got %d %s", status, body)
	}
}
