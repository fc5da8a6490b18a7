package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"drover/bucketmap/push"
	"drover/internal/admin"
	"drover/internal/logging"
	"drover/proxy/internal/accesslog"
	"drover/proxy/internal/config"
	"drover/proxy/internal/edge"
	"drover/proxy/internal/hold"
	"drover/proxy/internal/identity"
	"drover/proxy/internal/listen"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/mirror"
	"drover/proxy/internal/passport"
	"drover/proxy/internal/restart"
	"drover/proxy/internal/routing"
	"drover/proxy/internal/routing/cohort"
	"drover/proxy/internal/routing/whitelist"
	"drover/proxy/internal/socket"
	"drover/proxy/internal/trace"
	"drover/proxy/internal/upstream"
)

// proxy is every part, wired.
type proxy struct {
	config   *config.Config
	id       string // of this process, among those that run
	log      *zap.Logger
	sockets  sockets
	access   *accesslog.Log
	buffers  socket.Buffers
	source   receiving
	metrics  *metrics.Metrics
	table    *routing.Table
	cohorts  *cohort.Set // nil: they are not counted
	receiver *push.Receiver
	users    *whitelist.File // nil: no whitelist file
	holds    *hold.Manager
	finder   *identity.Finder
	fleet    *upstream.Fleet
	office   *passport.Office
	mirror   *mirror.Mirror // nil: nothing is mirrored
	tracer   *trace.Tracer  // nil: no spans
	edge     *edge.Edge
	watcher  *socket.Watcher
	set      *listen.Set
	server   *edge.Server
	admin    *admin.Server

	upgrades sync.WaitGroup // under way
}

// run serves until ctx ends or a new process has taken over, then drains. It
// returns nil after an orderly end.
func run(ctx context.Context, c *config.Config, s surroundings) (err error) {
	log, err := logging.New(s.err, c.Log.Level, c.Log.Format)
	if err != nil {
		return err
	}
	p := &proxy{config: c, id: c.ID, log: log, sockets: s.sockets}
	p.source.source = newSource(&c.Map)
	if p.sockets == nil {
		p.sockets = restart.None{}
	}
	if n := p.sockets.Generation(); n > 0 {
		// The process before still runs, and acknowledges maps by its own name.
		p.id = generationID(c.ID, n)
	}
	defer func() {
		if err := p.closeStore(); err != nil { // they end with this process all the same
			log.Warn("the store could not be told that this process ends", zap.Error(err))
		}
	}()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := p.openAccess(s); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.access.Close()) }()
	if err := p.wire(registry); err != nil {
		return err
	}
	if err := p.listen(ctx, registry); err != nil {
		return err
	}
	if s.listening != nil {
		s.listening(p.set.Addrs()[0], p.admin.Addr())
	}
	return p.serve(ctx, s)
}

func (p *proxy) openAccess(s surroundings) error {
	format, err := accesslog.ParseFormat(p.config.AccessLog.Format)
	if err != nil {
		return err
	}
	p.access, err = accesslog.Open(accesslog.Options{Path: p.config.AccessLog.Path, Format: format, Stdout: s.out, Stderr: s.err, Dropped: lateCounter{p}})
	return err
}

// lateCounter counts in a metric that is declared later.
type lateCounter struct{ p *proxy }

// Add is accesslog.Counter's.
func (c lateCounter) Add(n float64) { c.p.metrics.LogDrops.Add(n) }

// generationID is the id of a process that took over from another.
func generationID(id string, generation int) string {
	suffix := "." + strconv.Itoa(generation)
	return id[:min(len(id), idMax-len(suffix))] + suffix
}

// listen opens the listeners, so that an address in use ends the program before
// it has begun.
func (p *proxy) listen(ctx context.Context, gatherer prometheus.Gatherer) error {
	watcher, err := socket.NewWatcher()
	if err != nil {
		return err
	}
	p.watcher = watcher
	p.set, err = listen.Open(ctx, p.listeners(watcher))
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	p.server = edge.NewServer(p.edge, p.set)
	secure, err := adminTLS(p.config.Admin.TLS)
	if err == nil {
		p.admin, err = admin.Listen(ctx, admin.Options{
			Listen: p.config.Admin.Listen, Token: p.config.Admin.Token, TLS: secure, Gatherer: gatherer, Ready: p.ready,
			Open: func(network, address string) (net.Listener, error) {
				return p.sockets.Listen(network, address, &net.ListenConfig{})
			},
			Handlers: p.handlers(),
		})
	}
	if err != nil {
		p.set.Stop(false)
		return errors.Join(err, p.set.Serve(func(c *listen.Pending) { c.Close() }))
	}
	p.log.Info("listening", zap.String("id", p.id), zap.Stringers("clients", p.set.Addrs()), zap.String("admin", p.admin.Addr().String()))
	return nil
}

// handlers are what the admin server shows besides metrics and health.
func (p *proxy) handlers() map[string]http.Handler {
	show := func(what func() any) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { admin.WriteJSON(w, what()) })
	}
	return map[string]http.Handler{
		"GET /passports": show(func() any { return p.office.Recent() }),
		"GET /mirror":    show(func() any { return p.mirrored() }),
		"GET /holds":     show(func() any { return p.holds.Status() }),
		"GET /map":       show(func() any { return p.table.Status() }),
		"PUT /map":       p.receiver,
		"GET /map/ack":   p.receiver,
	}
}

func (p *proxy) ready() error {
	if p.edge.Draining() {
		return errors.New("draining")
	}
	return p.table.Ready()
}

// serve begins the parts, and ends them in the order in which they need one
// another: clients first, then what serves them.
func (p *proxy) serve(ctx context.Context, s surroundings) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, failed := errgroup.WithContext(background)
	for _, part := range []func(context.Context) error{
		p.holds.Run, p.fleet.Run, p.set.Run, p.watcher.Run, socket.Monitor, p.access.Run, p.finder.Run, p.watchPushes,
	} {
		group.Go(func() error { return part(failed) })
	}
	if p.tracer != nil {
		group.Go(func() error { return p.tracer.Run(failed) })
	}
	if p.mirror != nil {
		group.Go(func() error { return p.mirror.Run(failed) })
	}
	p.fleet.Resolve(ctx)
	adminEnd, endAdmin := context.WithCancel(failed)
	defer endAdmin()
	group.Go(func() error { return p.admin.Serve(adminEnd) })
	if err := p.finder.Load(ctx); err != nil {
		p.log.Warn("not all keys of tokens could be read; trying again in the background", zap.Error(err))
	}
	if err := p.startRouting(ctx); err != nil && ctx.Err() == nil {
		p.set.Stop(true) // the process before goes on with it, or there are no clients yet
		stop()
		return errors.Join(err, p.set.Serve(func(c *listen.Pending) { c.Close() }), group.Wait())
	}
	group.Go(func() error { return p.table.Run(failed) })
	if p.users != nil {
		group.Go(func() error { return p.users.Run(failed) })
	}
	group.Go(p.server.Serve)
	if err := p.sockets.Ready(); err != nil {
		p.log.Error("the process before could not be told that this one is ready", zap.Error(err))
	}
	handedOver := p.wait(ctx, failed, s)
	if handedOver {
		endAdmin() // its address is the new process's from here on
	} else {
		p.sockets.Stop()
	}
	d := p.config.Drain
	if rest := p.server.Drain(failed, handedOver, d.Delay, d.Idle, d.Timeout); rest != 0 {
		p.log.Warn("requests were cut off at the end of the drain", zap.Int("requests", rest))
	}
	stop()
	p.upgrades.Wait()
	err := group.Wait()
	if err == nil {
		p.log.Info("drained")
	}
	return err
}

// wait waits for the end. It says whether a new process has taken over.
func (p *proxy) wait(ctx, failed context.Context, s surroundings) bool {
	for {
		select {
		case <-ctx.Done():
			p.log.Info("draining", zap.Duration("timeout", p.config.Drain.Timeout))
			return false
		case <-failed.Done():
			return false
		case <-p.sockets.Exit():
			p.log.Info("a new process has taken over; draining", zap.Duration("timeout", p.config.Drain.Timeout))
			return true
		case <-s.reopen:
			if err := p.access.Reopen(); err != nil {
				p.log.Error("the access log could not be opened anew; going on in the old file", zap.Error(err))
			}
			if p.users != nil {
				p.users.Reload()
			}
		case <-s.restart:
			p.log.Info("starting a new process")
			p.upgrades.Go(func() { // it waits until the new one is ready
				if err := p.sockets.Upgrade(); err != nil {
					p.log.Error("the new process did not come up; going on", zap.Error(err))
				}
			})
		}
	}
}
