package promote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
)

// HookPoint is a place in a promotion where programs of the operator's are run.
type HookPoint string

// The points, in the order in which a promotion meets them.
const (
	// BeforeFreeze is before the hold: nobody waits yet.
	BeforeFreeze HookPoint = "before_freeze"
	// BeforeCommit is within the freeze: users wait.
	BeforeCommit HookPoint = "before_commit"
	// AfterCommit is past the commit point, once the new primary is writable; it
	// runs beside the publication of the map.
	AfterCommit HookPoint = "after_commit"
	// AfterPromote is when the map is published.
	AfterPromote HookPoint = "after_promote"
	// AfterReverse is when the old primary follows the new one.
	AfterReverse HookPoint = "after_reverse"
	// AfterAbort is when everything is undone.
	AfterAbort HookPoint = "after_abort"
)

// HookPoints lists the points in their order.
func HookPoints() []HookPoint {
	return []HookPoint{BeforeFreeze, BeforeCommit, AfterCommit, AfterPromote, AfterReverse, AfterAbort}
}

// Hook is a program that is run at a point. See docs/promotion-hooks.md.
type Hook struct {
	At HookPoint
	// Run is the program and its arguments. No shell is between.
	Run []string
	// Timeout bounds one run; then the program and its children are killed.
	Timeout time.Duration
}

func (h Hook) text() string { return string(h.At) + ": " + strings.Join(h.Run, " ") }

// ErrHook is returned when a hook failed before the commit point. Everything is
// undone then.
var ErrHook = errors.New("a hook failed")

// errHookKilled is within ErrHook for one whose time was over.
var errHookKilled = errors.New("killed")

const (
	// hookOutputMax bounds what is kept of a hook's output: the last 800 bytes,
	// for a note in the journal has 1,000.
	hookOutputMax = 800
	// hookGrace is how long the output of a hook's children is waited for once
	// the hook itself has ended.
	hookGrace = 200 * time.Millisecond
)

// hookInput is what a hook reads on its standard input: one JSON object.
type hookInput struct {
	Version    int                  `json:"version"`
	At         HookPoint            `json:"at"`
	Check      bool                 `json:"check"`
	Move       bucketmap.MoveID     `json:"move,omitempty"`
	Shard      bucketmap.ShardName  `json:"shard"`
	From       bucketmap.Datacenter `json:"from"`
	To         bucketmap.Datacenter `json:"to"`
	FromServer string               `json:"from_server"`
	ToServer   string               `json:"to_server"`
	// Epoch is the shard's before the promotion.
	Epoch bucketmap.Epoch `json:"epoch"`
	// Lost is true when the old primary is given up.
	Lost bool `json:"lost"`
}

// hookVersion is the version of hookInput. Keys may be added without a new one.
const hookVersion = 1

// tail keeps the last hookOutputMax bytes that are written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p[max(0, len(p)-hookOutputMax):]...)
	t.kept = append([]byte(nil), t.kept[max(0, len(t.kept)-hookOutputMax):]...)
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(strings.TrimSpace(string(t.kept)), "")
}

// call runs the program once, with everything that it starts in a process group
// of its own, which is killed at the end.
func (h Hook) call(ctx context.Context, in hookInput) (output string, err error) {
	text, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	var out tail
	c := exec.CommandContext(ctx, h.Run[0], h.Run[1:]...) //nolint:gosec // the operator's own program
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(append(text, '\n')), &out, &out
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.WaitDelay = hookGrace
	group := func() error {
		if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return nil
	}
	c.Cancel = group
	if err := c.Start(); err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrHook, h.text(), err)
	}
	err = c.Wait()
	_ = group() // what it left behind; there is mostly nothing
	switch {
	case ctx.Err() != nil:
		return out.String(), fmt.Errorf("%w: %s: %w, it may take %s at most, and what is left of the freeze: %s", ErrHook, h.text(), errHookKilled, h.Timeout, ctx.Err().Error())
	case errors.Is(err, exec.ErrWaitDelay): // it ended well, and its children have been killed
		return out.String(), nil
	case err != nil:
		return out.String(), fmt.Errorf("%w: %s: %w: %s", ErrHook, h.text(), err, out.String())
	}
	return out.String(), nil
}

// hooks runs every hook with "check": true.
func (i *inspection) hooks(ctx context.Context, lost bool) {
	for _, h := range i.Hooks {
		_, err := h.call(ctx, hookInput{Version: hookVersion, At: h.At, Check: true, Shard: i.shard.Name,
			From: i.from.Datacenter, To: i.to.Datacenter, FromServer: i.from.Addr, ToServer: i.to.Addr, Epoch: i.shard.Epoch, Lost: lost})
		if err != nil {
			i.refuse(i.to, CheckHooks, `put the program right, or take it out of promotion.hooks; with "check": true it must change nothing and end with 0`, "%s", err)
		}
	}
}

// hooks runs the hooks of a point, one after the other, and notes what they
// said in the journal. It ends at the first that fails.
func (r *run) hooks(ctx context.Context, at HookPoint) error {
	for _, h := range r.Hooks {
		if h.At != at {
			continue
		}
		r.tell("hook", h.text())
		r.crash("before_"+string(at), r.promotion.State())
		ended := h.run(ctx, r.hookInput(at))
		r.crash("after_"+string(at), r.promotion.State())
		r.remark(ctx, ended)
		if ended.err != nil {
			return ended.err
		}
	}
	return nil
}

func (r *run) hookInput(at HookPoint) hookInput {
	return hookInput{Version: hookVersion, At: at, Move: r.promotion.Record.Move, Shard: r.promotion.Shard,
		From: r.promotion.Source, To: r.promotion.Target, FromServer: r.from.Addr, ToServer: r.to.Addr,
		Epoch: r.promotion.Epoch, Lost: r.promotion.Lost}
}

// remarkTime bounds noting a hook's output. The note is for people: a hook that
// went well does not fail for want of it.
const remarkTime = 2 * time.Second

func (r *run) remark(ctx context.Context, h hookEnded) {
	r.observeHook(h)
	note := "hook " + h.hook.text()
	switch {
	case h.err != nil:
		note += " failed: " + h.err.Error()
	case h.output != "":
		note += ": " + h.output
	}
	r.report(Event{Move: r.promotion.Record.Move, State: r.promotion.State(), Note: note})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), remarkTime)
	defer cancel()
	server := r.from
	if r.passed {
		server = r.to
	}
	if err := journal.Open(server).Remark(ctx, r.promotion.Record, note); err != nil {
		r.report(Event{Move: r.promotion.Record.Move, State: r.promotion.State(), Note: "the journal has no note of it: " + err.Error()})
	}
}

// hooksAfter runs hooks past the commit point, or after an abort: a failure is a
// warning, for nothing can be undone for it.
func (r *run) hooksAfter(ctx context.Context, at HookPoint) {
	for _, h := range r.Hooks {
		if h.At != at {
			continue
		}
		r.tell("hook", h.text())
		r.remark(ctx, h.run(ctx, r.hookInput(at)))
	}
}

// hookEnded is what a hook came to.
type hookEnded struct {
	hook   Hook
	output string
	err    error
	took   time.Duration
}

// beginHooks runs the hooks of a point beside what follows. The returned
// function waits for them and notes what they came to.
func (r *run) beginHooks(ctx context.Context, at HookPoint) (end func()) {
	var chosen []Hook
	for _, h := range r.Hooks {
		if h.At == at {
			r.tell("hook", h.text())
			chosen = append(chosen, h)
		}
	}
	in, ended := r.hookInput(at), make(chan hookEnded, len(chosen))
	var running sync.WaitGroup
	running.Go(func() {
		for _, h := range chosen {
			ended <- h.run(ctx, in)
		}
	})
	return func() {
		running.Wait()
		for range chosen {
			r.remark(ctx, <-ended)
		}
	}
}
