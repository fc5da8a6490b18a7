package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// application answers with its name and what it was sent, and counts.
func application(t *testing.T, name string, calls *int) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*calls++
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Name", name)
		fmt.Fprintf(w, "%s %s %s %s %s", name, r.Host, r.URL, body, r.Header.Get("X-Forwarded-For"))
	}))
	t.Cleanup(s.Close)
	return s
}

func newFront(t *testing.T, addresses ...string) *Front {
	t.Helper()
	f, err := NewFront(t.Context(), addresses)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// ask sends a user's request through the first relay.
func ask(t *testing.T, f *Front, user string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+f.Addresses()[0]+"/a%2Fb?c=d", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "fitness.example"
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	if user != "" {
		r.Header.Set(userHeader, user)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestOnlyWhoIsMeantMeetsTheFaultAndTheApplicationHasDoneItsWork(t *testing.T) {
	calls, others := 0, 0
	f := newFront(t, application(t, "cloud", &calls).Listener.Addr().String())
	other := application(t, "legacy", &others).Listener.Addr().String()
	const well = "cloud fitness.example /a%2Fb?c=d body 192.0.2.1"
	for _, user := range []string{"", "1"} {
		if status, text := ask(t, f, user); status != 200 || text != well {
			t.Errorf("user %q: %d %q; want %q", user, status, text, well)
		}
	}
	f.Inject(Faults{Of: func(user string) bool { return user == "1" }, Every: 2})
	for i, user := range []string{"1", "2", "", "1", "2", "1", "1"} {
		want := 200
		if i == 3 || i == 6 {
			want = 500
		}
		if status, text := ask(t, f, user); status != want || want == 200 && text != well {
			t.Errorf("request %d: %d %q; want %d", i, status, text, want)
		}
	}
	if calls != 9 {
		t.Errorf("the application had %d requests: want each once, 9", calls)
	}
	if tally := f.Tally(); tally.Requests != 6 || tally.Faulty != 2 || tally.Users != 1 || tally.First.IsZero() || tally.Share() != 1.0/3 {
		t.Errorf("%+v", tally)
	}
	f.Inject(Faults{Every: 2, Apart: func(user string) bool { return user == "1" }})
	for i, user := range []string{"2", "1", "3", "1", "2", "2"} {
		want := 200
		if i == 2 || i == 3 || i == 5 {
			want = 500
		}
		if status, _ := ask(t, f, user); status != want {
			t.Errorf("apart: request %d: %d; want %d", i, status, want)
		}
	}
	f.Inject(Faults{To: other})
	if _, text := ask(t, f, "2"); !strings.HasPrefix(text, "legacy ") {
		t.Errorf("%q; want the other application's answer", text)
	}
	f.Inject(Faults{Delay: 30 * time.Millisecond})
	began := time.Now()
	if status, _ := ask(t, f, "2"); status != 200 || time.Since(began) < 30*time.Millisecond {
		t.Errorf("%d after %v; want 200 after 30ms or more", status, time.Since(began))
	}
	f.Heal()
	if status, text := ask(t, f, "1"); status != 200 || text != well || f.Tally().Faulty != 1 {
		t.Errorf("healed: %d %q, %+v", status, text, f.Tally())
	}
}

func TestStreamsPassAndABrokenAnswerIsBroken(t *testing.T) {
	next := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "one\n")
		w.(http.Flusher).Flush()
		select {
		case <-next:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(app.Close)
	f := newFront(t, app.Listener.Addr().String())
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+f.Addresses()[0], http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	first := make([]byte, 4)
	if _, err := io.ReadFull(answer.Body, first); err != nil || string(first) != "one\n" {
		t.Fatalf("%q, %v", first, err) // before the application goes on
	}
	close(next)
	if rest, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("the application broke off, and the client has a whole answer with %q", rest)
	}
}

func TestAPageIsSpoiltAndWellAgain(t *testing.T) {
	count := 0
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		count++
		fmt.Fprintf(w, "# TYPE drover_proxy_responses_total counter\ndrover_proxy_responses_total{datacenter=\"a b\",class=\"2xx\"} %d\ngo_threads 7\n", count)
	}))
	t.Cleanup(admin.Close)
	p, err := NewPage(t.Context(), admin.URL+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	get := func() (string, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return string(text), err
	}
	be := func(state State) {
		if err := p.Be(t.Context(), state); err != nil {
			t.Fatal(err)
		}
	}
	wellAt := func(n int) {
		t.Helper()
		if text, err := get(); err != nil || !strings.Contains(text, fmt.Sprintf("class=\"2xx\"} %d\ngo_threads 7\n", n)) {
			t.Errorf("%q, %v; want a page with %d", text, err, n)
		}
	}
	wellAt(1)
	be(Killed)
	if text, err := get(); err == nil {
		t.Errorf("killed: %q", text)
	}
	be(Empty)
	if text, err := get(); err != nil || text != "" {
		t.Errorf("empty: %q, %v", text, err)
	}
	be(NaN)
	if text, err := get(); err != nil || !strings.Contains(text, "drover_proxy_responses_total{datacenter=\"a b\",class=\"2xx\"} NaN\ngo_threads 7\n") {
		t.Errorf("NaN: %q, %v", text, err)
	}
	be(Stale)
	wellAt(3)
	wellAt(3)
	if n, first := p.Spoilt(); n != 2 || first.IsZero() {
		t.Errorf("%d spoilt since %v", n, first)
	}
	be(Well)
	wellAt(4)
	if n, _ := p.Spoilt(); n != 0 {
		t.Errorf("%d spoilt", n)
	}
}

// numberLines is a feed of lines as they are.
func numberLines() *Feed[string] {
	return NewFeed(func(line []byte) (string, bool) { return string(line), len(line) != 0 })
}

func TestAFeedGivesWhatHasComeAndEveryWaitEnds(t *testing.T) {
	feed := numberLines()
	for _, line := range []string{"one", "", "two"} {
		feed.Line([]byte(line))
	}
	if got := feed.Since(1); len(got) != feed.Len()-1 || len(got) != 1 || got[0] != "two" {
		t.Errorf("%q", got)
	}
	until := func(ctx context.Context, want string) <-chan error {
		ended := make(chan error, 1)
		go func() {
			_, err := feed.Until(ctx, 0, want, func(s string) bool { return s == want })
			ended <- err
		}()
		return ended
	}
	three, four := until(t.Context(), "three"), until(t.Context(), "four")
	feed.Line([]byte("three"))
	if err := <-three; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	five := until(ctx, "five")
	cancel(io.ErrNoProgress)
	if err := <-five; !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("%v", err)
	}
	feed.End()
	if err := <-four; err == nil {
		t.Error("a feed that has ended is waited for")
	}
}
