package yard

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"drover/bench/edge/internal/scene"
)

// TestMain makes the test's binary the yard's process too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "yard" {
		if err := Serve(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

func start(t *testing.T) *Yard {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	y, err := Start(context.WithoutCancel(t.Context()), program, "yard")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := y.Stop(); err != nil {
			t.Error(err)
		}
	})
	return y
}

func users(t *testing.T, datacenter, n int) []scene.User {
	t.Helper()
	s, err := scene.New()
	if err != nil {
		t.Fatal(err)
	}
	var some []scene.User
	for _, u := range s.Users {
		if u.Datacenter == datacenter && len(some) < n {
			some = append(some, u)
		}
	}
	return some
}

func TestAnswersOfTheRightOriginAreCountedAndOfTheWrongOneFound(t *testing.T) {
	y := start(t)
	if err := y.Open(y.Origins[scene.Target], 20); err != nil {
		t.Fatal(err)
	}
	for datacenter, wrong := range [2]int{scene.Source: 20, scene.Target: 0} {
		if err := y.Send(0, users(t, datacenter, 20)); err != nil {
			t.Fatal(err)
		}
		r, err := y.Collect(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if r.Wrong != wrong || r.Errors != wrong || r.Answered != 20-wrong || r.Arrivals != 20 || r.LastArrival == 0 {
			t.Errorf("datacenter %d: %+v", datacenter, r)
		}
	}
	if err := y.Close(); err != nil {
		t.Error(err)
	}
}

func TestSaturatedLoadCountsAndFindsWrongDatacenters(t *testing.T) {
	y := start(t)
	r, err := y.Do(Command{Op: OpLoad, Target: y.Origins[scene.Source], Connections: 8, Last: 200 * time.Millisecond, Core: -1, Pids: []int{os.Getpid()}})
	if err != nil {
		t.Fatal(err)
	}
	// Half of the users belong elsewhere.
	if all := r.Answered + r.Wrong; all < 100 || r.Wrong < all/4 || r.Wrong > all*3/4 || r.Errors != r.Wrong {
		t.Errorf("%d answered, %d wrong, %d errors: %v", r.Answered, r.Wrong, r.Errors, r.Kinds)
	}
	if r.Yard.Total <= 0 || r.Elapsed < 100*time.Millisecond { // the time to connect is not in it
		t.Errorf("%+v", r)
	}
}

// stalling answers as the edge does, but once it stands still for a while.
type stalling struct {
	mu    sync.Mutex
	count int
	users map[string]int
}

const (
	stallAt  = 100
	stallFor = 400 * time.Millisecond
)

func (s *stalling) serve(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.count++; s.count == stallAt {
			time.Sleep(stallFor) // the stall itself: all connections wait for the lock
		}
		id := r.Header.Get("X-User-Id")
		answer, _ := scene.Answer(s.users[id], "now")
		s.mu.Unlock()
		if _, err := io.WriteString(conn, strings.Replace(string(answer), scene.UserPrefix+"000000", id, 1)); err != nil {
			return
		}
	}
}

func TestRequestsThatWaitedForAStalledPeerAreNotForgiven(t *testing.T) {
	y := start(t)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stalling{users: map[string]int{}}
	for dc := range 2 {
		for _, u := range users(t, dc, scene.UsersCount) {
			s.users[u.ID] = u.Datacenter
		}
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { s.serve(conn) })
		}
	})
	// Two connections: without the intended times, 2 of 500 requests would be
	// slow, and p99 would not see them.
	r, err := y.Do(Command{Op: OpLoad, Target: l.Addr().String(), Connections: 2, Rate: 500, Last: time.Second, Core: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	served.Wait()
	if r.Errors != 0 || r.Answered < 400 || r.Latency.P99 < stallFor/2 {
		t.Errorf("%d answered, %d errors %v, %+v", r.Answered, r.Errors, r.Kinds, r.Latency)
	}
}

func TestCommandsThatCannotBeDoneAreRefused(t *testing.T) {
	y := start(t)
	for _, c := range []Command{{Op: "dance"}, {Op: OpSend}, {Op: OpLoad, Target: "nowhere", Connections: 1}} {
		if _, err := y.Do(c); err == nil {
			t.Errorf("%s was done", c.Op)
		}
	}
}

func TestSlowBodiesAndLargeAnswersAreServedWhole(t *testing.T) {
	y := start(t)
	for _, test := range []struct {
		method, path, body string
		want               int
	}{{http.MethodGet, LargePath, "", LargeLength}, {http.MethodPost, "/", "hello", scene.BodyLength}, {http.MethodGet, "/", "", scene.BodyLength}} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, "http://"+y.Origins[0]+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || len(got) != test.want {
			t.Errorf("%s %s: %d bytes, %v; want %d", test.method, test.path, len(got), err, test.want)
		}
	}
}

// once serves connections: the answer as many times as told, then the end of
// the connection.
func once(t *testing.T, times int) (address string, ended chan struct{}) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended = make(chan struct{}, 100)
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					answer, _ := scene.Answer(scene.Source, "now")
					text := strings.Replace(string(answer), scene.UserPrefix+"000000", r.Header.Get("X-User-Id"), 1)
					_, _ = io.WriteString(conn, strings.Repeat(text, times))
				}
				conn.Close()
				ended <- struct{}{}
			})
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		served.Wait()
	})
	return l.Addr().String(), ended
}

func TestAnIdleConnectionThatThePeerEndsIsNoError(t *testing.T) {
	y := start(t)
	address, ended := once(t, 1)
	if err := y.Open(address, 3); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := y.Send(0, users(t, scene.Source, 3)); err != nil {
			t.Fatal(err)
		}
		r, err := y.Collect(5 * time.Second)
		if err != nil || r.Errors != 0 || r.Answered != 3 {
			t.Fatalf("%+v, %v", r, err)
		}
		for range 3 {
			<-ended
		}
	}
	if err := y.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnAnswerTooManyIsAnError(t *testing.T) {
	y := start(t)
	address, _ := once(t, 2)
	if err := y.Open(address, 1); err != nil {
		t.Fatal(err)
	}
	if err := y.Send(0, users(t, scene.Source, 1)); err != nil {
		t.Fatal(err)
	}
	// Both answers are read at once, or one after the other.
	errors := 0
	for range 2 {
		r, err := y.Collect(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		errors = max(errors, r.Errors)
	}
	if errors != 1 {
		t.Errorf("%d errors", errors)
	}
	if err := y.Close(); err != nil {
		t.Error(err)
	}
}

func TestAPeerThatIsGoneEndsTheLoad(t *testing.T) {
	y := start(t)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { // takes the connections, answers nobody, and goes
		for range 4 {
			conn, err := l.Accept()
			if err != nil {
				gone <- err
				return
			}
			defer conn.Close()
		}
		gone <- l.Close()
	}()
	begin := time.Now()
	_, err = y.Do(Command{Op: OpLoad, Target: l.Addr().String(), Connections: 4, Last: time.Minute, Core: -1})
	if err == nil || !strings.Contains(err.Error(), "did it end?") || time.Since(begin) > time.Minute/2 {
		t.Errorf("got %v after %v", err, time.Since(begin))
	}
	if err := <-gone; err != nil {
		t.Error(err)
	}
}
