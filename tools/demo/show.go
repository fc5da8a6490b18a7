package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"drover/bucketmap"
	"drover/tools/demo/internal/ledger"
	"drover/tools/demo/internal/load"
	"drover/tools/demo/internal/stage"
)

// show is one performance.
type show struct {
	options options
	screen  *screen
	stage   *stage.Stage
	ledger  *ledger.Ledger
	users   *load.Generator
	job     *load.Job
	usersOf map[bucketmap.BucketID][]ledger.User
	before  map[bucketmap.Datacenter]int // users by datacenter

	stop  context.CancelFunc // of the load
	loads sync.WaitGroup
	going bool // the load is not paused

	campaign   *campaign     // nil until the plan is made
	forecasted time.Duration // by the campaign's own simulation
	acts       []played
	warm       load.Figures // of the time before the first act
	audit      ledger.Audit // the newest
	flip       flip
}

// act is one part of the show.
type act struct {
	title string // one line
	short string // for the summary
	steps int
	play  func(context.Context, *progress) error
}

// played is what came of an act.
type played struct {
	act
	took    time.Duration
	figures load.Figures
	audit   ledger.Audit // what is new in it
	astray  []string     // buckets that are not active where they should be, and nowhere else
}

// perform plays all acts, one after the other, under load.
func (s *show) perform(ctx context.Context) error {
	s.screen.line("")
	s.screen.line("%s users live in %s; %s is empty. %s requests a second go through one edge,", thousands(s.options.users), stage.Source,
		stage.Target, thousands(s.options.rate))
	s.screen.line("and a nightly job writes around it. Nobody may notice what happens now.")
	s.screen.line("The console is at %s: any name, and the token in %s", s.stage.Console, s.stage.ConsoleToken)
	if s.options.fence == stage.FenceOff {
		s.screen.line("THE FENCE IS OFF: applications write wherever their map says. Writes will be lost.")
	}
	if err := s.warmUp(ctx); err != nil {
		return err
	}
	acts := []act{s.calm(), s.planning(), s.employees(), s.trickle(), s.inBatches()}
	if s.options.fence != stage.FenceOff { // a campaign does not give a return up, and without the fence it may never work
		acts = append(acts, s.thereAndBack())
	}
	acts = append(acts, s.promotion())
	for i, a := range acts {
		if err := s.playAct(ctx, i, a); err != nil {
			return err
		}
	}
	return s.pause(ctx)
}

// warmUp lets all connections and caches fill, and begins the show. What fails
// in it counts; how long it takes does not.
func (s *show) warmUp(ctx context.Context) error {
	if err := s.resume(ctx); err != nil {
		return err
	}
	if err := wait(ctx, warmUpLasts); err != nil {
		return err
	}
	f := s.users.Take()
	s.warm = load.Figures{Errors: f.Errors, Stale: f.Stale}
	return nil
}

const warmUpLasts = 2 * time.Second

// playAct plays one act, and compares the ledger with the databases.
func (s *show) playAct(ctx context.Context, number int, a act) error {
	s.screen.line("")
	s.screen.line("%d. %s", number, a.title)
	began := time.Now()
	bar := s.screen.begin(a.steps, s.figuresNow)
	err := a.play(ctx, bar)
	bar.end()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if s.campaign != nil {
		err = errors.Join(err, s.campaign.turned())
	}
	s.heat(nil)
	took := time.Since(began)
	auditErr := s.settle(ctx, a, took)
	if name := s.stage.Ended(); name != "" {
		err = errors.Join(err, fmt.Errorf("%s has ended; its log is %s", name, s.stage.LogPath(name)))
	}
	return errors.Join(err, auditErr)
}

// settle pauses the load for a moment and enters what came of an act.
func (s *show) settle(ctx context.Context, a act, took time.Duration) error {
	if err := s.pause(ctx); err != nil {
		return err
	}
	p := played{act: a, took: took, figures: s.users.Take()}
	p.figures.Add(s.warm)
	s.warm = load.Figures{}
	books, err := s.stage.Books(ctx)
	if err != nil {
		return err
	}
	audit := s.ledger.Audit(books)
	p.audit, s.audit = audit.Since(s.audit), audit
	if p.astray, err = s.stage.Homes(ctx); err != nil {
		return err
	}
	s.acts = append(s.acts, p)
	s.screen.line("   %s in %.1f s: %s failed, %s lost, %s applied twice, %s; the longest wait was %d ms",
		plural(p.figures.Requests, "request"), took.Seconds(), thousands(p.figures.Errors), plural(p.audit.Count(ledger.Lost), "write"),
		thousands(p.audit.Count(ledger.Duplicated)), plural(p.figures.Stale, "stale read"), p.figures.Longest().Milliseconds())
	return s.resume(ctx)
}

// pause stops users and job, and returns once nothing is under way.
func (s *show) pause(ctx context.Context) error {
	if !s.going {
		return nil
	}
	if err := s.users.Pause(ctx); err != nil {
		return err
	}
	s.job.Pause()
	s.going = false
	return nil
}

func (s *show) resume(ctx context.Context) error {
	if s.going {
		return nil
	}
	s.job.Resume()
	s.going = true
	return s.users.Resume(ctx)
}

// end ends the load.
func (s *show) end() {
	s.stop()
	if !s.going {
		s.job.Resume()
	}
	s.loads.Wait()
}

// migrator runs one of the migrator's commands. Without the fence a command may
// fail, for the migrator notices much of what should not be: that is said, and
// the show goes on, without what the command was to do.
func (s *show) migrator(ctx context.Context, args ...string) (done bool, err error) {
	_, err = s.stage.Migrator(ctx, args...)
	var failed *stage.CommandError
	if errors.As(err, &failed) && s.options.fence == stage.FenceOff {
		s.screen.line("   !! %s", failed.Last())
		return false, nil
	}
	return err == nil, err
}

// aim puts the load on the users whose buckets will move next, and gives it a
// moment to get there.
func (s *show) aim(ctx context.Context, buckets ...bucketmap.BucketID) error {
	var users []ledger.User
	for _, b := range buckets {
		users = append(users, s.usersOf[b]...)
	}
	s.heat(users)
	return wait(ctx, s.options.pause)
}

func (s *show) usersIn(buckets []bucketmap.BucketID) (count int) {
	for _, b := range buckets {
		count += len(s.usersOf[b])
	}
	return count
}

// heat says whose buckets are moving.
func (s *show) heat(users []ledger.User) {
	s.users.Heat(users)
	s.job.Heat(users)
}

func (s *show) figuresNow() string {
	f := s.users.Peek()
	return fmt.Sprintf("%s, %s failed", plural(f.Requests, "request"), thousands(f.Errors))
}

// homes returns the buckets of a shard, in order.
func (s *show) homes(ctx context.Context, shard bucketmap.ShardName) ([]bucketmap.BucketID, error) {
	snap, err := s.stage.Map(ctx)
	if err != nil {
		return nil, err
	}
	var buckets []bucketmap.BucketID
	for run := range snap.Runs() {
		for b := run.First; run.Shard == shard && b <= run.Last; b++ {
			buckets = append(buckets, b)
		}
	}
	return buckets, nil
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, lasting time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(lasting):
		return nil
	}
}
