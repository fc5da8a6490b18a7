package replicate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"drover/migrator/internal/machine"
)

// Run makes the replica, or takes up where a run before ended, or adopts one
// that replicates already. The result says how far it came, with an error too.
func (e *Engine) Run(ctx context.Context) (*Result, error) {
	if e.Limits.Connections < 1 || e.Limits.Connections > ConnectionsMax {
		return nil, fmt.Errorf("%d connections: want 1 to %d", e.Limits.Connections, ConnectionsMax)
	}
	id, err := machine.NewID("r")
	if err != nil {
		return nil, err
	}
	r := &run{Engine: e, id: id, say: make(chan struct{}, 1)}
	r.result = Result{Shard: e.From.Shard, From: e.From.Datacenter, To: e.To.Datacenter}
	began := time.Now()
	defer func() { r.result.Took = time.Since(began) }()
	if r.from, err = bare(e.From); err != nil {
		return nil, err
	}
	defer func() { _ = r.from.Close() }()
	if r.to, err = bare(e.To); err != nil {
		return nil, err
	}
	defer func() { _ = r.to.Close() }()
	if err := e.family(ctx, r.from, r.to); err != nil {
		return nil, err
	}
	held, err := lock(ctx, r.to)
	if err != nil {
		return nil, err
	}
	defer held.close()
	if err := r.steps(ctx); err != nil {
		var hint string
		switch {
		case ctx.Err() != nil:
			hint = "run this again to go on"
		case errNo(err, erFull):
			hint = "the replica's disk is full: make room there and run this again"
		}
		return &r.result, &Error{Move: id, State: r.result.State, Hint: hint, Err: err}
	}
	return &r.result, nil
}

const erFull = 1114

// steps goes from where the mark is to done.
func (r *run) steps(ctx context.Context) error {
	m, err := readMark(ctx, r.to.DB, r.to)
	if err != nil {
		return err
	}
	upstreams, err := r.to.Upstreams(ctx)
	if err != nil {
		return err
	}
	r.result.Adopted = m == nil && len(upstreams) != 0
	if r.result.Adopted {
		if r.Restart {
			return fmt.Errorf("%w: %s follows a primary, and was not made here; make it a replica anew by hand, or leave out --restart", ErrForeign, r.to.Name())
		}
		r.result.State = Proving
		if err := r.prove(ctx); err != nil {
			return err
		}
		r.result.State = Done
		r.report(Event{State: Done, Entered: true})
		return nil
	}
	if err := r.claim(ctx, m); err != nil {
		return err
	}
	if r.mark.State == Copying || r.Restart {
		if err := r.copy(ctx); err != nil {
			return err
		}
	}
	r.result.State = Following
	if err := r.follow(ctx); err != nil {
		return err
	}
	r.result.State = Proving
	if err := r.prove(ctx); err != nil {
		return err
	}
	if err := r.dropMark(ctx); err != nil {
		return err
	}
	r.result.State = Done
	r.report(Event{State: Done, Entered: true})
	return nil
}

// claim makes the server read-only and this run the one that has its mark. A
// server with data that no mark names is not touched.
func (r *run) claim(ctx context.Context, m *mark) error {
	r.result.State = Copying
	found, err := foreign(ctx, r.to, m)
	if err != nil {
		return err
	}
	if len(found) != 0 && (m == nil || m.State == Copying || r.Restart) {
		return fmt.Errorf("%w: %s has %s; name another server, or empty it by hand", ErrForeign, r.to.Name(), strings.Join(found, ", "))
	}
	primary, err := r.from.ServerID(ctx)
	if err != nil {
		return err
	}
	own, err := r.to.ServerID(ctx)
	if err != nil {
		return err
	}
	if own == primary {
		return fmt.Errorf("%w: %s has server_id %d, as the primary has: is it the same server? give each its own", ErrForeign, r.to.Name(), own)
	}
	if m != nil && (m.Shard != string(r.To.Shard) || m.PrimaryID != primary) {
		return fmt.Errorf("%w: %s was being made a replica of shard %s, server_id %d; finish that, or empty it by hand: DROP DATABASE of %s and of %s",
			ErrForeign, r.to.Name(), m.Shard, m.PrimaryID, strings.Join(m.Schemas, ", "), markSchema)
	}
	r.crash("before_read_only", Copying)
	if err := r.to.MakeReadOnly(ctx, string(r.id), readOnlyMax); err != nil {
		return err
	}
	r.crash("after_read_only", Copying)
	return r.takeMark(ctx, Copying, primary)
}

// readOnlyMax bounds making an empty server read-only: nobody waits there.
const readOnlyMax = 5 * time.Second

// copy empties the replica of what a run before made, and copies.
func (r *run) copy(ctx context.Context) error {
	if len(r.mark.Schemas) != 0 || r.mark.State != Copying {
		r.note(Copying, "an earlier run ended in %s: what it made is removed, and the copy begins anew", r.mark.State)
	}
	r.report(Event{State: Copying, Entered: true})
	if err := r.empty(ctx); err != nil {
		return err
	}
	pace := r.newPace(ctx, Copying)
	defer pace.stop()
	method := r.Method
	if method == nil {
		method = Dump{}
	}
	start, err := method.Copy(ctx, &Job{run: r, pace: pace})
	if err != nil {
		return err
	}
	r.crash("before_copied", Copying)
	err = r.saveMark(ctx, func(m *mark) { m.State, m.Start = Copied, start })
	r.crash("after_copied", Copying)
	if err != nil {
		return err
	}
	r.report(Event{State: Copied, Entered: true})
	return nil
}

// IsRefused says whether an error means that nothing was changed.
func IsRefused(err error) bool {
	return errors.Is(err, ErrForeign) || errors.Is(err, ErrBusy) || errors.Is(err, ErrFamily)
}
