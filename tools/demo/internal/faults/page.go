package faults

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sync"
	"time"
)

// State is how a metrics page is.
type State string

// The states.
const (
	Well   State = "well"
	Killed State = "killed" // connections are closed without an answer
	Empty  State = "empty"  // 200, and nothing
	Stale  State = "stale"  // the same page again and again
	NaN    State = "NaN"    // its numbers are none
)

const (
	// pageMax bounds a page; a proxy's has some 100 KB.
	pageMax = 16 << 20
	// pageWait bounds reading one.
	pageWait = 5 * time.Second
)

// numbers are the samples of the edge's own metrics: name, labels, value.
var numbers = regexp.MustCompile(`(?m)^(drover_proxy_\S+(?:\{[^}\n]*\})?) \S+$`)

// Page stands before the metrics page of one proxy.
type Page struct {
	url    string // the page's own
	client *http.Client
	server *server

	mu struct {
		sync.Mutex
		state  State
		old    []byte // of Stale
		first  time.Time
		spoilt int
	}
}

// NewPage opens a relay before a page. Close ends it.
func NewPage(ctx context.Context, url string) (*Page, error) {
	p := &Page{url: url, client: &http.Client{Timeout: pageWait}}
	p.mu.state = Well
	var err error
	if p.server, err = serve(ctx, http.HandlerFunc(p.answer)); err != nil {
		return nil, fmt.Errorf("a relay before %s: %w", url, err)
	}
	return p, nil
}

// URL is where the page is found.
func (p *Page) URL() string { return "http://" + p.server.address + "/metrics" }

// Be makes the page so from now on. Spoilt begins anew.
func (p *Page) Be(ctx context.Context, state State) error {
	var old []byte
	if state == Stale {
		var err error
		if old, err = p.read(ctx); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.state, p.mu.old, p.mu.first, p.mu.spoilt = state, old, time.Time{}, 0
	return nil
}

// Spoilt says how many answers were not well since Be, and when the first was.
func (p *Page) Spoilt() (count int, first time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.spoilt, p.mu.first
}

// Close ends the relay.
func (p *Page) Close() error {
	err := p.server.close()
	p.client.CloseIdleConnections()
	return err
}

// now is how this answer is to be, and counts it.
func (p *Page) now() (State, []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.state != Well {
		if p.mu.spoilt++; p.mu.first.IsZero() {
			p.mu.first = time.Now()
		}
	}
	return p.mu.state, p.mu.old
}

func (p *Page) answer(w http.ResponseWriter, r *http.Request) {
	state, text := p.now()
	switch state {
	case Killed:
		panic(http.ErrAbortHandler)
	case Empty, Stale:
	case Well, NaN:
		var err error
		if text, err = p.read(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
	}
	if state == NaN {
		text = numbers.ReplaceAll(text, []byte("$1 NaN"))
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(text) // who has gone needs no answer
}

func (p *Page) read(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", p.url, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, pageMax))
}
