package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	workMin = 5 * time.Millisecond // of the application, for each request
	workMax = 20 * time.Millisecond
	headMax = 10 * time.Second // for a request's head: none takes long here
)

// Ledger is the application.
type Ledger struct {
	Address string
	server  *http.Server
	ended   chan error

	mu      sync.Mutex
	seen    map[uint64]bool
	doubled int
}

// NewLedger begins to serve.
func NewLedger(ctx context.Context) (*Ledger, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen as the application: %w", err)
	}
	l := &Ledger{Address: listener.Addr().String(), ended: make(chan error, 1), seen: map[uint64]bool{}}
	l.server = &http.Server{Handler: l, ReadHeaderTimeout: headMax}
	go func() { l.ended <- l.server.Serve(listener) }()
	return l, nil
}

// ServeHTTP notes the request's number, works a while, and answers it.
func (l *Ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	number, err2 := strconv.ParseUint(string(text), 10, 64)
	if err := errors.Join(err, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l.note(number)
	time.Sleep(workMin + rand.N(workMax-workMin))
	_, _ = w.Write(text) // whoever is gone is counted by the crowd
}

func (l *Ledger) note(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen[number] {
		l.doubled++
	}
	l.seen[number] = true
}

// Doubled is how many requests have come once too often.
func (l *Ledger) Doubled() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.doubled
}

// Saw says whether a request has come.
func (l *Ledger) Saw(number uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[number]
}

// Stop ends the application.
func (l *Ledger) Stop() error {
	err := l.server.Close()
	if end := <-l.ended; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
