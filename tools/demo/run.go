package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"drover/bucketmap"
	"drover/tools/demo/internal/ledger"
	"drover/tools/demo/internal/load"
	"drover/tools/demo/internal/stage"
)

// run sets the stage, plays the acts and judges.
func run(ctx context.Context, o options, screen *screen) error {
	began := time.Now()
	screen.line("Setting the stage (not part of the show):")
	return onStage(ctx, screen, stage.Options{Users: o.users, Buckets: o.buckets, AlphaShare: alphaShare, Fence: o.fence, Slow: o.slow,
		Bin: o.bin, Dir: o.work}, func(set *stage.Stage, problems *problems) error {
		screen.line("   migrator check passes, with %s", plural(set.Warnings, "warning"))
		screen.line("   set up in %.0f s", time.Since(began).Seconds())
		s, err := newShow(ctx, o, screen, set, problems)
		if err != nil {
			return err
		}
		defer s.end()
		err = s.perform(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = s.judge(ctx, err)
		if o.keep {
			s.keep(ctx)
		}
		return err
	})
}

// onStage sets the stage, opens the file of problems, plays, and closes both. The
// work folder is removed unless something went wrong, or it was given.
func onStage(ctx context.Context, screen *screen, o stage.Options, play func(*stage.Stage, *problems) error) (err error) {
	o.Log = func(format string, args ...any) { screen.line("   "+format, args...) }
	set, err := stage.Set(ctx, o)
	if err != nil {
		return fmt.Errorf("set the stage: %w", err)
	}
	defer func() {
		err = errors.Join(err, set.Close())
		if o.Dir == "" && (err == nil || errors.Is(err, context.Canceled)) {
			err = errors.Join(err, set.Remove())
			return
		}
		screen.line("The logs are in %s.", filepath.Join(set.Dir, "logs"))
	}()
	problems, err := newProblems(set.LogPath("problems"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, problems.close()) }()
	return play(set, problems)
}

// newShow wires the load to the stage, and starts it paused.
func newShow(ctx context.Context, o options, screen *screen, set *stage.Stage, problems *problems) (*show, error) {
	snap, err := set.Map(ctx)
	if err != nil {
		return nil, err
	}
	s := &show{options: o, screen: screen, stage: set, ledger: ledger.New(o.users, days(time.Now())), usersOf: map[bucketmap.BucketID][]ledger.User{}}
	for i := 1; i <= o.users; i++ {
		user := ledger.User(i)
		b := bucketmap.Bucket([]byte(user.ID()), snap.Buckets())
		s.usersOf[b] = append(s.usersOf[b], user)
	}
	s.before = stage.Population(snap, o.users)
	s.users = load.New(load.Options{URL: set.Proxy, Rate: o.rate, Ledger: s.ledger, Problem: problems.add})
	s.job = load.NewJob(load.JobOptions{Applications: [][]string{set.Applications[stage.Source], set.Applications[stage.Target]},
		Writers: o.jobWriters, Rate: o.jobRate, Ledger: s.ledger, Problem: problems.add})
	loading, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.loads.Go(func() { s.users.Run(loading) })
	s.loads.Go(func() { s.job.Run(loading) })
	s.loads.Go(func() { s.watchDefault(loading) })
	return s, nil
}

// days are today and the two days before it.
func days(now time.Time) []string {
	var days []string
	for back := range 3 {
		days = append(days, now.AddDate(0, 0, -back).Format(time.DateOnly))
	}
	return days
}

// problemsMax bounds the file: a fence that is off makes thousands.
const problemsMax = 10_000

// problems is the file with every answer that was not as it should be.
type problems struct {
	mu    sync.Mutex
	file  *os.File
	count int
}

func newProblems(path string) (*problems, error) {
	f, err := os.Create(path)
	return &problems{file: f}, err
}

func (p *problems) add(problem load.Problem) {
	text, err := json.Marshal(problem)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count++; err == nil && p.count <= problemsMax {
		p.file.Write(append(text, '\n')) //nolint:errcheck // it is counted all the same
	}
}

func (p *problems) close() error { return p.file.Close() }
