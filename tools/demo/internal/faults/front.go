package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// idleMax is how many connections to each application are kept: as many as the
	// load has requests under way.
	idleMax = 1024
	// idleFor is shorter than an application keeps an idle connection.
	idleFor = 20 * time.Second
	// userHeader is where the edge says whose request it is.
	userHeader = "Drover-User"
)

// Faults are what happens to requests.
type Faults struct {
	// Of says whose requests they are; nil: everybody's.
	Of func(user string) bool
	// Every is which answers become 500: each so-many-th; 0: none. Those of Apart are
	// counted apart, so that they have their share exactly; nil: nobody's are.
	Every int
	Apart func(user string) bool
	// Delay makes requests late by so much.
	Delay time.Duration
	// To is the address of another application that gets them; empty: none.
	To string
}

// Tally is what has happened since the faults were injected.
type Tally struct {
	First    time.Time // the first request that met a fault; zero: none did
	Requests int       // all that came to the datacenter
	Faulty   int       // those that met a fault
	Users    int       // whose they were
}

// Share is the share of requests that met a fault.
func (t Tally) Share() float64 { return float64(t.Faulty) / float64(max(t.Requests, 1)) }

// Front stands before all applications of a datacenter.
type Front struct {
	transport *http.Transport
	servers   []*server

	mu struct {
		sync.Mutex
		faults Faults
		on     bool
		tally  Tally
		turn   map[bool]int    // counts requests of those who meet faults, of Apart and of the others
		users  map[string]bool // who met one: the demo's users at most
	}
}

// NewFront opens a relay before each address, in that order. Close ends it.
func NewFront(ctx context.Context, addresses []string) (*Front, error) {
	f := &Front{transport: &http.Transport{MaxIdleConns: idleMax, MaxIdleConnsPerHost: idleMax, IdleConnTimeout: idleFor, DisableCompression: true}}
	for _, address := range addresses {
		s, err := serve(ctx, f.relay(address))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("a relay before %s: %w", address, err), f.Close())
		}
		f.servers = append(f.servers, s)
	}
	return f, nil
}

// Addresses are where the edge finds the applications.
func (f *Front) Addresses() (all []string) {
	for _, s := range f.servers {
		all = append(all, s.address)
	}
	return all
}

// Inject begins with faults, and a new tally.
func (f *Front) Inject(faults Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.faults, f.mu.on, f.mu.tally = faults, true, Tally{}
	f.mu.users, f.mu.turn = map[string]bool{}, map[bool]int{}
}

// Heal ends the faults. The tally stays.
func (f *Front) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.on = false
}

// Tally says what has happened so far.
func (f *Front) Tally() Tally {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.mu.tally
	t.Users = len(f.mu.users)
	return t
}

// Close ends the relays.
func (f *Front) Close() error {
	var errs []error
	for _, s := range f.servers {
		errs = append(errs, s.close())
	}
	f.transport.CloseIdleConnections()
	return errors.Join(errs...)
}

// fate is what happens to one request.
type fate struct {
	spoil bool
	delay time.Duration
	to    string
}

// meet decides, and counts. Requests without a user, such as checks of health, meet
// nothing.
func (f *Front) meet(user string) (one fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.mu.on || user == "" {
		return one
	}
	f.mu.tally.Requests++
	faults := f.mu.faults
	if faults.Of != nil && !faults.Of(user) {
		return one
	}
	one.delay, one.to = faults.Delay, faults.To
	if faults.Every > 0 {
		apart := faults.Apart != nil && faults.Apart(user)
		f.mu.turn[apart]++
		one.spoil = f.mu.turn[apart]%faults.Every == 0
	}
	if one != (fate{}) {
		if f.mu.tally.Faulty++; f.mu.tally.First.IsZero() {
			f.mu.tally.First = time.Now()
		}
		f.mu.users[user] = true
	}
	return one
}

// fateKey finds a request's fate in its context.
type fateKey struct{}

func fateOf(r *http.Request) fate {
	one, _ := r.Context().Value(fateKey{}).(fate)
	return one
}

// relay carries requests to one application.
func (f *Front) relay(address string) http.Handler {
	proxy := &httputil.ReverseProxy{
		Transport:     f.transport,
		FlushInterval: -1, // streams are not held back
		Rewrite: func(r *httputil.ProxyRequest) {
			to := address
			if other := fateOf(r.In).to; other != "" {
				to = other
			}
			r.SetURL(&url.URL{Scheme: "http", Host: to})
			r.Out.Host = r.In.Host
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if values, ok := r.In.Header[name]; ok { // the edge's word, not this one's
					r.Out.Header[name] = values
				}
			}
		},
		ModifyResponse: spoil,
		// As if there were no relay: the connection breaks.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one := f.meet(r.Header.Get(userHeader))
		if one.delay > 0 {
			timer := time.NewTimer(one.delay)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), fateKey{}, one)))
	})
}

// spoil makes an answer a 500. The application has done what it was asked for.
func spoil(answer *http.Response) error {
	if !fateOf(answer.Request).spoil || answer.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	const body = "a fault was injected here\n"
	_, err := io.Copy(io.Discard, answer.Body) // so that the connection is kept
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		return err
	}
	answer.StatusCode, answer.Status = http.StatusInternalServerError, ""
	answer.Header = http.Header{"Content-Type": {"text/plain"}, "Content-Length": {strconv.Itoa(len(body))}}
	answer.ContentLength, answer.Trailer, answer.TransferEncoding = int64(len(body)), nil, nil
	answer.Body = io.NopCloser(strings.NewReader(body))
	return nil
}
