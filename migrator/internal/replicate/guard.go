package replicate

import (
	"context"
	"fmt"
	"time"

	"drover/migrator/internal/throttle"
)

// guardEvery is how often the guard looks, and with it how long users wait for
// a statement that waits for the copy.
const guardEvery = 200 * time.Millisecond

// guard ends the copy when a statement on the primary waits for the definition
// of a table that is being read: whatever comes after it would wait too.
func (j *Job) guard(ctx context.Context, done <-chan struct{}) error {
	ticker := time.NewTicker(guardEvery)
	defer ticker.Stop()
	seen := map[string]bool{} // twice in a row: others wait for one another too
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-done:
			return nil
		case <-ticker.C:
		}
		waiting, err := words(ctx, j.from.DB, "SELECT CONCAT(ID, ': ', LEFT(COALESCE(INFO, ''), 80)) FROM information_schema.PROCESSLIST "+
			"WHERE STATE LIKE 'Waiting for table metadata lock%'")
		if err != nil {
			continue // a primary that is in trouble keeps the throttle closed
		}
		now := map[string]bool{}
		for _, who := range waiting {
			if seen[who] {
				return fmt.Errorf("%w: connection %s; run this again when it is done: it begins anew", ErrWaiting, who)
			}
			now[who] = true
		}
		seen = now
	}
}

// pace is what keeps the copy from hurting the primary.
type pace struct {
	rows, bytes *throttle.Throttle
}

func (r *run) newPace(ctx context.Context, s State) *pace {
	p := &pace{
		rows: &throttle.Throttle{RowsPerSecond: r.Limits.RowsPerSecond, Report: func(reason string) {
			if reason != "no figures yet" {
				r.note(s, "waiting: %s", reason)
			}
		}},
		bytes: &throttle.Throttle{RowsPerSecond: r.Limits.BytesPerSecond},
	}
	if r.Limits.ThreadsRunningMax > 0 {
		p.rows.Gauges = append(p.rows.Gauges, throttle.Status{Server: r.from, Name: throttle.ThreadsRunning, Max: uint64(r.Limits.ThreadsRunningMax)})
	}
	p.rows.Start(ctx)
	return p
}

func (p *pace) stop() { p.rows.Stop() }

func (p *pace) wait(ctx context.Context, rows, bytes int) error {
	if err := p.bytes.Wait(ctx, bytes); err != nil {
		return err
	}
	return p.rows.Wait(ctx, rows)
}
