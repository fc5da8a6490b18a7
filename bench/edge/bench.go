package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover/bench/edge/internal/figures"
	"drover/bench/edge/internal/peer"
	"drover/bench/edge/internal/scene"
	"drover/bench/edge/internal/yard"
	"drover/tools/sources"
)

const (
	roundsMax  = 1000
	secondsMax = 600
	anyCore    = -1
)

// errGate is the class of runs whose figures are not good enough.
var errGate = errors.New("the edge does not keep its promises")

// errFaulty is the class of runs in which a request failed or went astray.
var errFaulty = errors.New("requests failed, or were answered from the wrong datacenter or for another user")

// bench is what all measurements share.
type bench struct {
	rounds, seconds    int
	proxy, label, json string
	gate               bool

	out   io.Writer
	words io.Writer // of progress
	dir   string    // temporary
	self  string
	scene *scene.Scene
	yard  *yard.Yard
	turns int // peers started, for the names of their folders
}

// run prepares, measures and cleans up.
func (b *bench) run(cmd *cobra.Command, measure func(context.Context) error) (err error) {
	ctx := cmd.Context()
	if b.rounds < 1 || b.rounds > roundsMax || b.seconds < 1 || b.seconds > secondsMax {
		return fmt.Errorf("--rounds is 1 to %d and --seconds 1 to %d", roundsMax, secondsMax)
	}
	b.out, b.words = cmd.OutOrStdout(), cmd.ErrOrStderr()
	if b.dir, err = os.MkdirTemp("", "drover-edge-"); err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if err := os.Chmod(b.dir, 0o755); err != nil { //nolint:gosec // nginx's workers are another user
		return fmt.Errorf("open the temporary folder to the peers: %w", err)
	}
	if b.self, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if b.scene, err = scene.New(); err != nil {
		return err
	}
	if b.proxy, err = b.binary(ctx); err != nil {
		return err
	}
	// Without ctx: at an interrupt the yard ends after the peers, by its pipe.
	if b.yard, err = yard.Start(context.WithoutCancel(ctx), b.self, "yard"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.yard.Stop()) }()
	return measure(ctx)
}

// binary returns the path of Drover's proxy, built unless it was given.
func (b *bench) binary(ctx context.Context) (string, error) {
	if b.proxy != "" {
		path, err := filepath.Abs(b.proxy)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			return "", fmt.Errorf("--proxy: %w", err)
		}
		return path, nil
	}
	path, err := sources.Program(ctx, b.dir, "proxy")
	if err != nil {
		return "", fmt.Errorf("build the proxy, or give a binary with --proxy: %w", err)
	}
	return path, nil
}

// with starts a peer, measures it and stops it.
func (b *bench) with(ctx context.Context, name string, o peer.Options, measure func(*peer.Peer) error) (err error) {
	b.turns++
	o.Dir = filepath.Join(b.dir, fmt.Sprintf("%s-%d", name, b.turns))
	if err := os.Mkdir(o.Dir, 0o755); err != nil { //nolint:gosec // nginx's workers are another user
		return fmt.Errorf("make a peer's folder: %w", err)
	}
	o.Scene, o.Origins, o.Proxy, o.Self = b.scene, b.yard.Origins, b.proxy, b.self
	p, err := peer.Start(ctx, name, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop(), os.RemoveAll(o.Dir)) }()
	return measure(p)
}

// progress says what is being done, for whoever waits.
func (b *bench) progress(format string, args ...any) { fmt.Fprintf(b.words, format+"\n", args...) }

// page reads a peer's metrics; of a peer that has none it is empty.
func page(ctx context.Context, p *peer.Peer) (figures.Page, error) {
	if p.Admin == "" {
		return figures.Page{}, nil
	}
	text, err := p.Page(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	return figures.Parse(string(text)), nil
}

// save writes a run's figures to --json.
func (b *bench) save(what string, samples any) error {
	if b.json == "" {
		return nil
	}
	text, err := json.MarshalIndent(map[string]any{
		"label": b.label, "what": what, "when": time.Now().UTC(), "seconds": b.seconds, "samples": samples,
	}, "", "  ")
	if err == nil {
		err = os.WriteFile(b.json, append(text, '\n'), 0o644) //nolint:gosec // figures are for everybody
	}
	if err != nil {
		return fmt.Errorf("write --json: %w", err)
	}
	return nil
}

// faults says what went wrong in a round; of a round without errors it is nil.
func faults(where string, r yard.Result) error {
	if r.Errors == 0 {
		return nil
	}
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(r.Kinds)) {
		kinds = append(kinds, fmt.Sprintf("%d times %s", r.Kinds[kind], kind))
	}
	return fmt.Errorf("%w: %s: %d errors, %d of them wrong answers: %s", errFaulty, where, r.Errors, r.Wrong, strings.Join(kinds, "; "))
}
