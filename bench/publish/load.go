package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"drover/bench/internal/times"
	"drover/bucketmap"
	"drover/internal/pause"
)

const (
	// workersMax bounds the requests under way. 64 at 2,000 a second is 32 ms
	// each: a load that falls behind shows it in its times.
	workersMax = 64
	requestMax = 10 * time.Second
	// usersOf a datacenter take turns.
	usersOf = 500
)

// user is one whom no publication moves.
type user struct {
	id string
	dc bucketmap.Datacenter
}

// staying returns users whose buckets are below free.
func staying(snap *bucketmap.Snapshot, free bucketmap.BucketID) []user {
	var users []user
	have := map[bucketmap.Datacenter]int{}
	for i := 0; len(users) < 2*usersOf; i++ {
		id := fmt.Sprintf("user-%d", i)
		b := bucketmap.Bucket([]byte(id), snap.Buckets())
		home, ok := snap.Home(b)
		if ok && b < free && have[home.Datacenter] < usersOf {
			have[home.Datacenter]++
			users = append(users, user{id, home.Datacenter})
		}
	}
	return users
}

// load is requests at a fixed rate. It is a process of its own.
type load struct {
	Address string `json:"address"`
	Rate    int    `json:"rate"`
	Buckets uint32 `json:"buckets"`

	users  []user
	client *http.Client
}

// loadBegins and loadEnds are the questions to it; the answer to the second is
// what was measured.
const (
	loadBegins = "begin"
	loadEnds   = "end"
)

// loaded is what a load measured.
type loaded struct {
	Took times.Times `json:"took"` // each request
}

// serve sends requests between a question to begin and one to end.
func (l *load) serve(ctx context.Context, in io.Reader, out io.Writer) error {
	first, err := firstMap(l.Buckets)
	if err != nil {
		return err
	}
	l.users = staying(first, bucketmap.BucketID(l.Buckets/2))
	transport := &http.Transport{MaxIdleConnsPerHost: workersMax, DisableCompression: true}
	defer transport.CloseIdleConnections()
	l.client = &http.Client{Transport: transport}
	end := func() (times.Times, error) { return nil, errors.New("no load has begun") }
	defer func() { _, _ = end() }() // whoever asked has gone
	return serve(in, out, func(question string) (loaded, error) {
		if question == loadBegins {
			end = l.begin(ctx)
			return loaded{}, nil
		}
		took, err := end()
		return loaded{took}, err
	})
}

// begin sends requests until the function that it returns is called.
func (l *load) begin(ctx context.Context) func() (times.Times, error) {
	loading, stop := context.WithCancel(ctx)
	var all times.Times
	var err error
	var group sync.WaitGroup
	group.Go(func() { all, err = l.run(loading) })
	return func() (times.Times, error) {
		stop()
		group.Wait()
		return all, err
	}
}

// run sends until ctx ends, and returns how long each took from when it was
// due, and what failed.
func (l *load) run(ctx context.Context) (times.Times, error) {
	interval := time.Second / time.Duration(l.Rate)
	begun := time.Now()
	var mu sync.Mutex
	var all times.Times
	var failed error
	failures := 0
	var group sync.WaitGroup
	for w := range workersMax {
		group.Go(func() {
			var own times.Times
			for i := w; ; i += workersMax {
				due := begun.Add(time.Duration(i) * interval)
				if pause.For(ctx, time.Until(due)) != nil {
					mu.Lock()
					all = append(all, own...)
					mu.Unlock()
					return
				}
				if err := l.ask(l.users[i%len(l.users)]); err != nil {
					mu.Lock()
					failures, failed = failures+1, err
					mu.Unlock()
				}
				own = append(own, time.Since(due))
			}
		})
	}
	group.Wait()
	if failures != 0 {
		return all, fmt.Errorf("%d of %d requests failed, the last: %w", failures, len(all), failed)
	}
	return all, nil
}

// ask makes one request. It is not ended with the round.
func (l *load) ask(u user) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestMax)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.Address+"/", nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-User-Id", u.id)
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || string(body) != string(u.dc) {
		return fmt.Errorf("user %s: status %d from %q, want %s", u.id, resp.StatusCode, body, u.dc)
	}
	return nil
}
