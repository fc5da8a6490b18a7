package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"drover/bench/internal/events"
	"drover/bench/internal/times"
	"drover/bucketmap"
)

const (
	requestMax = 15 * time.Second
	// requestTries bounds how often one request is sent again that was answered
	// with something else than success: 2 s of pauses.
	requestTries = 200
	requestPause = 10 * time.Millisecond
	bodyMax      = 64 << 10
	day          = "2026-01-01"
)

// public is the users of the moving buckets, one each.
type public struct {
	address string
	first   int        // bucket
	users   []*visitor // by bucket, from first on
	client  *http.Client
	stale   atomic.Int64
	reads   atomic.Int64
	refused atomic.Int64 // answers other than success
}

// visitor writes, and reads the own write back at once.
type visitor struct {
	id    string
	acked int64

	mu       sync.Mutex
	requests []request
}

// request is a write or a read, from the first sending to the success.
type request struct{ began, ended time.Time }

// waited is what a row of the table is made of.
type waited struct {
	took    times.Times // of the requests that met a hold or a freeze
	longest times.Times // one a move
	stale   int64
	reads   int64
	refused int64
}

// newPublic has one user in each of some buckets.
func newPublic(address string, first, buckets int, all uint32) *public {
	p := &public{address: address, first: first, users: make([]*visitor, buckets),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: buckets, DisableCompression: true}, Timeout: requestMax}}
	run := time.Now().UnixNano()
	for n, left := 0, buckets; left > 0; n++ {
		id := fmt.Sprintf("u%d-%d", run, n)
		if b := int(bucketmap.Bucket([]byte(id), all)) - first; b >= 0 && b < buckets && p.users[b] == nil {
			p.users[b] = &visitor{id: id}
			left--
		}
	}
	return p
}

func (p *public) close() { p.client.CloseIdleConnections() }

// list names the buckets as the migrator takes them.
func (p *public) list() string {
	if len(p.users) == 1 {
		return fmt.Sprint(p.first)
	}
	return fmt.Sprintf("%d-%d", p.first, p.first+len(p.users)-1)
}

// use writes and reads until ctx ends.
func (p *public) use(ctx context.Context, u *visitor) error {
	for ctx.Err() == nil {
		body := fmt.Sprintf(`{"request_id":"%d","day":%q,"steps":1}`, u.acked+1, day)
		if _, err := p.send(u, http.MethodPost, "/1/user/-/steps", body); err != nil {
			return err
		}
		u.acked++
		answer, err := p.send(u, http.MethodGet, "/1/user/-/steps/"+day, "")
		if err != nil {
			return err
		}
		p.reads.Add(1)
		if answer.Steps < u.acked {
			p.stale.Add(1)
		}
	}
	return nil
}

// steps is the answer to a read.
type steps struct {
	Steps int64 `json:"steps"`
}

// send makes one request, again until it succeeds: the application counts a
// request id once. It is not interrupted.
func (p *public) send(u *visitor, method, path, body string) (answer steps, err error) {
	began := time.Now()
	for range requestTries {
		var text []byte
		var status int
		if text, status, err = p.try(u, method, path, body); err == nil && status == http.StatusOK {
			u.mu.Lock()
			u.requests = append(u.requests, request{began, time.Now()})
			u.mu.Unlock()
			return answer, json.Unmarshal(text, &answer)
		}
		p.refused.Add(1)
		err = errors.Join(fmt.Errorf("%s %s: status %d: %s", method, path, status, text), err)
		time.Sleep(requestPause)
	}
	return answer, err
}

func (p *public) try(u *visitor, method, path, body string) ([]byte, int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestMax)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.address+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("X-User-Id", u.id)
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, bodyMax))
	return text, resp.StatusCode, err
}

// collect takes the requests that were under way between a move's hold and its
// end, and forgets the others.
func (p *public) collect(r *waited, all []events.Event) {
	var from, to time.Time
	for _, e := range all {
		switch {
		case !e.Entered:
		case e.State == "holding" && from.IsZero():
			from = e.At
		case e.State == "soaking":
			to = e.At
		}
	}
	longest := time.Duration(0)
	for _, u := range p.users {
		u.mu.Lock()
		requests := u.requests
		u.requests = nil
		u.mu.Unlock()
		for _, q := range requests {
			if q.ended.Before(from) || q.began.After(to) {
				continue
			}
			took := q.ended.Sub(q.began)
			r.took = append(r.took, took)
			longest = max(longest, took)
		}
	}
	r.longest = append(r.longest, longest)
}
