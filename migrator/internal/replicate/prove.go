package replicate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/internal/pause"
)

// The replica is compared in rounds. In each, it is stopped; the primary opens a
// snapshot at a position that the replica has not passed; the replica is started
// until that very position, and stands still there. Now both servers show the
// same moment, whatever is written meanwhile, and a chunk that differs does so in
// earnest: nothing needs to be looked at again. When the round is over the
// replica goes on, and the next round takes up at the next chunk; what came
// before is kept equal by replication.

// proof is how far the comparison has come.
type proof struct {
	tables  []*tableCopy
	table   int
	after   place
	defined bool // the definitions were compared
	tries   int  // in which definitions were being changed
}

const (
	// proofRows is a chunk: some 50 ms at either end.
	proofRows = 10_000
	// aheadTries × followPoll: a replica may have a transaction a moment before
	// its primary shows it.
	aheadTries = 100
	// untilMax bounds the wait until a replica that was near is at a position.
	untilMax = 5 * time.Minute
)

// prove compares everything. The error is ErrDiffers when something differs.
func (r *run) prove(ctx context.Context) error {
	r.report(Event{State: Proving, Entered: true})
	pace := r.newPace(ctx, Proving)
	defer pace.stop()
	p := &proof{}
	for done := false; !done; {
		var err error
		done, err = r.round(ctx, p, pace)
		switch {
		case err == nil:
		case errNo(err, erDefinitionChanged, erNoTable, erNoColumn) || errors.Is(err, ErrDefinition):
			if p.tries++; p.tries >= definitionTries {
				return fmt.Errorf("%w: %w; run this again when no definitions are being changed", ErrDefinition, err)
			}
			*p = proof{tries: p.tries}
			r.result.Chunks, r.result.Compared, r.result.Differ = 0, 0, nil
			if err := r.catchUp(ctx); err != nil {
				return err
			}
		default:
			return err
		}
	}
	if len(r.result.Differ) != 0 {
		first := r.result.Differ[0]
		return fmt.Errorf("%w: %d row(s) or definition(s), such as %s %s (%s); see what writes on the replica, and make it anew: --restart",
			ErrDiffers, len(r.result.Differ), first.Table, first.Key, first.Kind)
	}
	return r.catchUp(ctx)
}

const erNoColumn = 1054

// round compares for as long as a round may last. It says whether all is
// compared.
func (r *run) round(ctx context.Context, p *proof, pace *pace) (done bool, err error) {
	upstream, err := r.to.OneUpstream(ctx)
	if err != nil {
		return false, err
	}
	r.crash("before_stop", Proving)
	if err := r.to.StopReplica(ctx, upstream.Connection); err != nil {
		return false, err
	}
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), endMax)
		defer cancel()
		err = errors.Join(err, r.to.StartReplica(after, upstream.Connection))
	}()
	r.crash("after_stop", Proving)
	shot, err := r.openReached(ctx)
	if err != nil {
		return false, err
	}
	defer shot.kill(ctx)
	if err := r.bringTo(ctx, upstream.Connection, shot); err != nil {
		return false, err
	}
	r.result.Position = shot.position.String()
	if !p.defined {
		if err := r.compareDefinitions(ctx, p); err != nil {
			return false, err
		}
	}
	there, err := openSession(ctx, r.to, "SET SESSION max_statement_time=0")
	if err != nil {
		return false, err
	}
	defer there.kill(ctx)
	return r.compareFor(ctx, p, pace, shot.sessions[0], there)
}

// openReached opens a snapshot that has all that the stopped replica has.
func (r *run) openReached(ctx context.Context) (*snapshot, error) {
	have, err := r.to.ReplicaPosition(ctx)
	if err != nil {
		return nil, err
	}
	for range aheadTries {
		shot, err := r.openSnapshot(ctx, 1)
		if err != nil || shot.position.Reached(have) {
			return shot, err
		}
		shot.close()
		if err := pause.For(ctx, followPoll); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: it has applied %s, which the primary does not have; make it anew", ErrReplication, have)
}

// bringTo starts the replica until it is at the snapshot's position.
func (r *run) bringTo(ctx context.Context, connection string, shot *snapshot) error {
	have, err := r.to.ReplicaPosition(ctx)
	if err != nil {
		return err
	}
	if have.Reached(shot.position) {
		return nil
	}
	if _, err := r.to.DB.ExecContext(ctx, "START SLAVE ? UNTIL master_gtid_pos = ?", connection, shot.position.String()); err != nil {
		return fmt.Errorf("%s: start it until %s: %w", r.to.Name(), shot.position, err)
	}
	limited, cancel := context.WithTimeout(ctx, untilMax)
	defer cancel()
	began := time.Now()
	for {
		u, err := r.to.OneUpstream(limited)
		if err != nil {
			return err
		}
		if have, err = r.to.ReplicaPosition(limited); err != nil {
			return err
		}
		if have.Reached(shot.position) && !u.Applies {
			break
		}
		if err := r.broken(u, time.Since(began)); err != nil && !have.Reached(shot.position) {
			return err
		}
		r.report(Event{State: Proving, Rows: r.result.Compared, Behind: have.Lag(shot.position)})
		if err := pause.For(limited, followPoll); err != nil {
			return fmt.Errorf("%s: it is at %s, not yet at %s: %w", r.to.Name(), have, shot.position, err)
		}
	}
	if !shot.position.Reached(have) {
		return fmt.Errorf("%w: told to stop at %s, it is at %s", ErrReplication, shot.position, have)
	}
	return r.to.StopReplica(ctx, connection) // the thread that receives
}

// compareDefinitions compares them, and reads the list of tables.
func (r *run) compareDefinitions(ctx context.Context, p *proof) error {
	here, err := r.definitions(ctx, r.from)
	if err != nil {
		return err
	}
	there, err := r.definitions(ctx, r.to)
	if err != nil {
		return err
	}
	if names := changed(here, there); len(names) != 0 {
		if p.tries < definitionTries-1 { // one may be on its way
			return fmt.Errorf("%w: %v", ErrDefinition, names)
		}
		for _, name := range names[:min(len(names), differMax)] {
			r.result.Differ = append(r.result.Differ, Difference{Table: name, Kind: "different"})
		}
	}
	both := slices.DeleteFunc(here, func(o object) bool {
		return o.kind != kindTable || !slices.ContainsFunc(there, func(t object) bool { return t.String() == o.String() })
	})
	if p.tables, err = (&Job{run: r}).describe(ctx, both); err != nil {
		return err
	}
	p.defined, r.result.Tables = true, len(p.tables)
	return nil
}

// compareFor compares chunks until the round is over or all is compared.
func (r *run) compareFor(ctx context.Context, p *proof, pace *pace, here, there *session) (done bool, err error) {
	for end := time.Now().Add(r.Limits.Round); p.table < len(p.tables); {
		if time.Now().After(end) {
			return false, nil
		}
		t := p.tables[p.table]
		var upto place
		if keyed(t.table) {
			if upto, err = here.next(ctx, t, p.after, proofRows); err != nil {
				return false, err
			}
		}
		if err := pace.wait(ctx, proofRows, 0); err != nil {
			return false, err
		}
		if err := r.compare(ctx, spanOf(t, p.after, upto), here, there); err != nil {
			return false, err
		}
		if err := here.letGo(ctx); err != nil {
			return false, err
		}
		if p.after = upto; upto == nil {
			p.table++
		}
		if len(r.result.Differ) >= differMax {
			return true, nil
		}
		r.report(Event{State: Proving, Rows: r.result.Compared})
	}
	return true, nil
}

// compare compares one chunk, and names what differs.
func (r *run) compare(ctx context.Context, c span, here, there *session) error {
	var a, b sum
	group, both := errgroup.WithContext(ctx)
	group.Go(func() (err error) { a, err = here.sum(both, c); return err })
	group.Go(func() (err error) { b, err = there.sum(both, c); return err })
	if err := group.Wait(); err != nil {
		return err
	}
	r.result.Chunks++
	r.result.Compared += a.rows
	if a == b {
		return nil
	}
	table := c.copy.schema + "." + c.copy.table.Name
	want, err := here.hashes(ctx, c)
	if err != nil {
		return err
	}
	got, err := there.hashes(ctx, c)
	if err != nil {
		return err
	}
	if want == nil || got == nil {
		r.result.Differ = append(r.result.Differ, Difference{Table: table, Kind: "different"})
		return nil
	}
	var found []Difference
	for key, hash := range want {
		switch other, ok := got[key]; {
		case !ok:
			found = append(found, Difference{table, key, "missing"})
		case other != hash:
			found = append(found, Difference{table, key, "different"})
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			found = append(found, Difference{table, key, "extra"})
		}
	}
	if len(found) == 0 { // keys that read alike
		found = []Difference{{Table: table, Kind: "different"}}
	}
	slices.SortFunc(found, func(x, y Difference) int { return slices.Compare([]string{x.Key, x.Kind}, []string{y.Key, y.Kind}) })
	r.result.Differ = append(r.result.Differ, found[:min(len(found), differMax-len(r.result.Differ))]...)
	return nil
}
