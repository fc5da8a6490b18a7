package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"drover/bench/edge/internal/scene"
	"drover/bench/internal/proc"
)

// The peers by name.
const (
	Drover  = "drover"
	Nginx   = "nginx"
	Haproxy = "haproxy"
	Nethttp = "nethttp"
)

// Names lists all peers, in the order of tables.
func Names() []string { return []string{Drover, Nginx, Haproxy, Nethttp} }

const (
	startMax = 15 * time.Second // until a peer answers
	stopMax  = 10 * time.Second // from SIGTERM to SIGKILL
	pollWait = 20 * time.Millisecond
	pageMax  = 64 << 20 // of an admin page; a profile is the largest
	logTail  = 2 << 10  // of a peer's words, shown when it fails
)

// Options say how a peer is to run.
type Options struct {
	Dir     string // empty, the peer's own
	Scene   *scene.Scene
	Origins [2]string // by datacenter
	Workers int       // threads or processes that serve
	Core    int       // that all are bound to; negative is none
	Proxy   string    // Drover's binary
	Self    string    // the bench's binary, which is nethttp too
	Hold    Hold      // of drover; zero is its defaults
}

// Hold is the part of Drover's configuration that bounds held requests. A
// ReleaseRate of 0 is the edge's default.
type Hold struct {
	RequestsMax, Total, ReleaseRate int
	WaitMax                         time.Duration
}

// Peer is a program that runs.
type Peer struct {
	Name    string
	Address string // where clients connect
	Admin   string // of the Go peers, where metrics are; empty: none
	Pids    []int  // of all its processes
	Dir     string
	cmd     *exec.Cmd
	log     *os.File
	exited  chan error
}

// Start starts a peer and waits until it serves.
func Start(ctx context.Context, name string, o Options) (*Peer, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("there is no peer %q; there are %v", name, Names())
	}
	ports, err := freePorts(ctx, 2)
	if err != nil {
		return nil, err
	}
	p := &Peer{Name: name, Address: ports[0], Dir: o.Dir, exited: make(chan error, 1)}
	if name == Drover || name == Nethttp {
		p.Admin = ports[1]
	}
	args, err := p.configure(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", name, err)
	}
	if p.log, err = os.Create(filepath.Join(o.Dir, "output")); err != nil {
		return nil, fmt.Errorf("keep what %s says: %w", name, err)
	}
	// Not CommandContext: a peer is ended by Stop, which waits for all of it.
	p.cmd = exec.Command(args[0], args[1:]...) //nolint:noctx // see above
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = o.Dir, p.log, p.log
	// A group of its own: an interrupt from the keyboard is for the bench, which
	// then stops its peers.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(o.Workers))
	if err := proc.Pinned(o.Core, p.cmd.Start); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s; is it installed? %w", name, err), p.log.Close())
	}
	go func() { p.exited <- p.cmd.Wait() }()
	if err := p.await(ctx, o.Scene.Users[0]); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	if p.Pids, err = proc.Tree(p.cmd.Process.Pid); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// await waits until a request is answered well.
func (p *Peer) await(ctx context.Context, user scene.User) error {
	ctx, cancel := context.WithTimeout(ctx, startMax)
	defer cancel()
	for {
		err := p.probe(ctx, user.ID)
		if err == nil {
			return nil
		}
		select {
		case end := <-p.exited:
			p.exited <- end
			return errors.Join(fmt.Errorf("%s ended at once; it said: %s", p.Name, p.tail()), end)
		case <-ctx.Done():
			return fmt.Errorf("%s did not serve within %v: %w; it said: %s", p.Name, startMax, err, p.tail())
		case <-time.After(pollWait):
		}
	}
}

func (p *Peer) probe(ctx context.Context, user string) error {
	_, err := get(ctx, "http://"+p.Address+"/", user)
	return err
}

func get(ctx context.Context, url, user string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("make a request to %s: %w", url, err)
	}
	if user != "" {
		r.Header.Set("X-User-Id", user)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, pageMax))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", url, err)
	}
	return body, nil
}

// Page fetches a page of the admin server.
func (p *Peer) Page(ctx context.Context, path string) ([]byte, error) {
	if p.Admin == "" {
		return nil, fmt.Errorf("%s has no admin server", p.Name)
	}
	return get(ctx, "http://"+p.Admin+path, "")
}

// tail returns the end of what the peer has said.
func (p *Peer) tail() string {
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	if over := len(text) - logTail; over > 0 {
		text = text[over:]
	}
	return string(bytes.TrimSpace(text))
}

// Stop ends the peer and waits until it has ended.
func (p *Peer) Stop() error {
	var err error
	select {
	case end := <-p.exited:
		err = errors.Join(fmt.Errorf("%s had ended before it was stopped; it said: %s", p.Name, p.tail()), end)
	default:
		err = p.terminate()
	}
	return errors.Join(err, p.log.Close())
}

func (p *Peer) terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case end := <-p.exited:
		var signalled *exec.ExitError // haproxy calls an end by a signal a failure
		if end != nil && !errors.As(end, &signalled) {
			return fmt.Errorf("stop %s: %w", p.Name, end)
		}
		return nil
	case <-time.After(stopMax):
	}
	err := fmt.Errorf("%s was killed: it had not ended %v after SIGTERM; it said: %s", p.Name, stopMax, p.tail())
	for _, pid := range slices.Backward(p.Pids) { // children first
		if pid != p.cmd.Process.Pid {
			err = errors.Join(err, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	err = errors.Join(err, p.cmd.Process.Kill())
	return errors.Join(err, <-p.exited)
}

// freePorts finds addresses of loopback that nobody listens on. Another
// process can take one before the peer does; then the peer says so and ends.
func freePorts(ctx context.Context, n int) ([]string, error) {
	addresses := make([]string, n)
	var lc net.ListenConfig
	for i := range addresses {
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() //nolint:errcheck // nothing was taken from it
		addresses[i] = l.Addr().String()
	}
	return addresses, nil
}
