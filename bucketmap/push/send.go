package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
)

// ProxyError says why one proxy does not run the map.
type ProxyError struct {
	Address string // its base address
	Status  int    // of its answer, 0 when there was none
	Rule    bucketmap.Rule
	Err     error
}

func (e *ProxyError) Error() string { return fmt.Sprintf("proxy %s: %s", e.Address, e.Err) }

func (e *ProxyError) Unwrap() error { return e.Err }

// proxy is what a Store knows of one proxy.
type proxy struct {
	address string
	turn    chan struct{} // held by who sends a map: one after the other

	mu struct {
		sync.Mutex
		knowledge
	}
}

// knowledge is what a proxy said last.
type knowledge struct {
	asked   bool   // false: it never answered
	silent  bool   // it did not answer the last time
	id      string // empty while it is not known
	version bucketmap.Version
	digest  bucketmap.Digest
}

func newProxy(address string) *proxy {
	return &proxy{address: address, turn: make(chan struct{}, 1)}
}

func (p *proxy) known() knowledge {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.knowledge
}

func (p *proxy) isSilent() bool { return p.known().silent }

func (p *proxy) answered(ack bucketmap.Ack) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.knowledge = knowledge{asked: true, id: ack.Proxy, version: ack.Version, digest: ack.Digest}
}

// gaveNone forgets what the proxy ran: it may begin again with another map.
func (p *proxy) gaveNone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.knowledge = knowledge{silent: true, id: p.mu.id}
}

// send brings every proxy to run the map. The error joins a *ProxyError for
// each that does not.
func (s *Store) send(ctx context.Context, m *message) error {
	proxies, err := s.fleet(ctx)
	if err != nil {
		return err
	}
	errs := make([]error, len(proxies))
	var group errgroup.Group
	group.SetLimit(s.options.Parallel)
	for i, p := range proxies {
		group.Go(func() error {
			errs[i] = s.sendTo(ctx, p, m)
			return nil // one proxy's failure stops no other
		})
	}
	_ = group.Wait() // always nil
	return errors.Join(errs...)
}

// sendTo brings one proxy to run the map, within Timeout.
func (s *Store) sendTo(ctx context.Context, p *proxy, m *message) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return &ProxyError{Address: p.address, Err: fmt.Errorf("another map is on its way: %w", ctx.Err())}
	}
	defer func() { <-p.turn }()
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval = tryPause
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := s.sendOnce(ctx, p, m)
		if err != nil && !passes(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(tries))
	var known *ProxyError
	if err != nil && !errors.As(err, &known) {
		err = &ProxyError{Address: p.address, Err: err} // the time was up between two tries
	}
	return err
}

// passes says whether the same request may soon have another answer.
func passes(err error) bool {
	var e *ProxyError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case 0, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable:
		return true
	default:
		return false
	}
}

// sendOnce sends the delta where it may fit, else or then the whole map.
func (s *Store) sendOnce(ctx context.Context, p *proxy, m *message) error {
	known := p.known()
	if known.asked && m.isRunBy(known) {
		return nil
	}
	if m.fits(known) {
		err := s.put(ctx, p, m, ContentTypeDelta, m.delta())
		if !wantsWhole(err) {
			return err
		}
	}
	return s.put(ctx, p, m, ContentTypeMap, m.whole())
}

// wantsWhole says whether a delta was answered so that the whole map may do
// better: it is for another map, or the proxy knows no deltas.
func wantsWhole(err error) bool {
	var e *ProxyError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case http.StatusPreconditionFailed, http.StatusBadRequest, http.StatusUnsupportedMediaType:
		return true
	case http.StatusConflict:
		// Of another map, or of an edge from before there were rules. A guard's
		// refusal would be the same again.
		return e.Rule == ruleDelta || e.Rule == ruleUnspecified || e.Rule == bucketmap.RuleVersion
	default:
		return false
	}
}

// put sends one body and returns nil when the proxy runs the map or a later
// one.
func (s *Store) put(ctx context.Context, p *proxy, m *message, contentType string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, p.address+mapPath, bytes.NewReader(body))
	if err != nil {
		return &ProxyError{Address: p.address, Err: err}
	}
	req.Header.Set("Content-Type", contentType)
	// Nothing is sent for an empty list; but it says that the request may be
	// sent again where an idle connection turns out to be dead.
	req.Header["Idempotency-Key"] = []string{}
	a, err := s.do(req)
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // else the caller gave up, not the proxy
			p.gaveNone()
		}
		return &ProxyError{Address: p.address, Err: fmt.Errorf("unreachable: %w; it gets the map when it answers again", err)}
	}
	if a.ack != nil {
		p.answered(*a.ack)
	}
	switch {
	case a.status == http.StatusOK && a.ack != nil:
		return nil
	case a.status == http.StatusConflict && a.ack != nil && m.isRunBy(p.known()):
		return nil // it has this map already, or another publisher was faster
	default:
		return &ProxyError{Address: p.address, Status: a.status, Rule: a.rule, Err: a.failure()}
	}
}
