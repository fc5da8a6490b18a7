package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"drover/bucketmap"
	"drover/migrator/internal/publish"
)

// errBehind says that a live proxy does not run the map in force.
var errBehind = errors.New("not every live proxy runs the map in force")

// What a proxy runs, beside the map in force.
const (
	fleetCurrent = "current"
	fleetBehind  = "behind"
	fleetAhead   = "ahead"   // of a version that is not in the store: a canary's
	fleetDiffers = "differs" // of the same version, with another digest
	fleetNone    = "no map"
)

// fleetLine is one proxy as migrator map status prints it.
type fleetLine struct {
	Proxy   string            `json:"proxy"`
	Version bucketmap.Version `json:"version"` // 0 for none
	Digest  bucketmap.Digest  `json:"digest,omitzero"`
	Since   time.Time         `json:"since,omitzero"`
	State   string            `json:"state"` // current, behind, ahead, differs, no map
	// Behind is how many versions it is behind the map in force.
	Behind  uint64            `json:"behind"`
	Refused bucketmap.Version `json:"refused,omitempty"` // the last map refused, and why
	Reason  string            `json:"reason,omitempty"`
}

// fleetStatus is what migrator map status prints as JSON.
type fleetStatus struct {
	Version bucketmap.Version `json:"version"`
	Digest  bucketmap.Digest  `json:"digest"`
	// Current says whether every live proxy runs this map, also when there is none.
	Current bool        `json:"current"`
	Proxies []fleetLine `json:"proxies"`
	Error   string      `json:"error,omitempty"` // why the newest map cannot be read
}

func newFleetStatus(snap *bucketmap.Snapshot, acks []bucketmap.Ack) fleetStatus {
	s := fleetStatus{Version: snap.Version(), Digest: snap.Digest(), Current: true, Proxies: []fleetLine{}}
	for _, ack := range acks {
		line := fleetLine{Proxy: ack.Proxy, Version: ack.Version, Digest: ack.Digest, Since: ack.Since, Refused: ack.Refused, Reason: ack.Reason}
		switch {
		case ack.Version == 0:
			line.State, line.Behind = fleetNone, uint64(snap.Version())
		case ack.Version < snap.Version():
			line.State, line.Behind = fleetBehind, uint64(snap.Version()-ack.Version)
		case ack.Version > snap.Version():
			line.State = fleetAhead
		case len(publish.LateOf(snap, []bucketmap.Ack{ack})) != 0:
			line.State = fleetDiffers
		default:
			line.State = fleetCurrent
		}
		s.Current = s.Current && line.State == fleetCurrent
		s.Proxies = append(s.Proxies, line)
	}
	return s
}

func (a *app) mapStatus() *cobra.Command {
	var watch, asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show which proxy runs which map, since when, and what it refused",
		Long: `Show which proxy runs which map, since when, and what it refused.

The exit code is 0 when every live proxy runs the map in force, by version and
digest, and 1 when one does not: the map is on its way, or the proxy has refused
it and says why. A proxy that is ahead, or runs another map of the same version,
was a canary whose push was broken off: publish the next version.

With --watch it goes on until interrupted, on a terminal with a table that is
drawn again at each change, else with a line for each proxy that changed, or a
JSON object a line.`,
		Example: `  migrator map status
  migrator map status --watch
  migrator map status -o json | jq '.proxies[] | select(.state != "current")'`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				a.output = "json"
			}
			if err := a.open(); err != nil {
				return err
			}
			if watch {
				return a.watchFleet(cmd.Context())
			}
			snap, err := a.store.Load(cmd.Context())
			if err != nil {
				return err
			}
			acks, err := a.store.Acks(cmd.Context())
			if err != nil {
				return err
			}
			s := newFleetStatus(snap, acks)
			if a.json() {
				err = a.printJSON(s)
			} else {
				a.printFleet(a.out, s)
			}
			if err == nil && !s.Current {
				return errBehind
			}
			return err
		},
	}
	c.Flags().BoolVar(&watch, "watch", false, "go on, and show each change")
	c.Flags().BoolVar(&asJSON, "json", false, "the same as --output json")
	return c
}

func (a *app) printFleet(w io.Writer, s fleetStatus) {
	fmt.Fprintf(w, "map version %d, digest %s\n", s.Version, short(s.Digest))
	if s.Error != "" {
		fmt.Fprintf(w, "the newest map cannot be read: %s\n", plain(s.Error))
	}
	if len(s.Proxies) == 0 {
		fmt.Fprintf(w, "no live proxy\n")
		return
	}
	t := a.table("proxy", "version", "digest", "since", "state", "refused")
	t.SetOutputMirror(w)
	for _, p := range s.Proxies {
		since := ""
		if !p.Since.IsZero() {
			since = p.Since.Format(time.RFC3339)
		}
		t.AppendRow(table.Row{p.Proxy, p.Version, short(p.Digest), since, p.state(), p.refusal()})
	}
	t.Render()
}

func (l fleetLine) state() string {
	if l.State == fleetBehind {
		return fmt.Sprintf("behind by %d", l.Behind)
	}
	return l.State
}

func (l fleetLine) refusal() string {
	if l.Refused != 0 {
		return fmt.Sprintf("%d: %s", l.Refused, plain(l.Reason))
	}
	return plain(l.Reason)
}

// fleetWatch is one migrator map status --watch. Its fields belong to the
// goroutine that prints.
type fleetWatch struct {
	app    *app
	snap   *bucketmap.Snapshot
	failed string
	acks   []bucketmap.Ack
	heard  bool // acks are known
	shown  fleetStatus
}

// watchFleet shows the fleet until the context ends, which is no error.
func (a *app) watchFleet(ctx context.Context) error {
	w := &fleetWatch{app: a}
	changes := make(chan func())
	tell := func(ctx context.Context, change func()) bool {
		select {
		case changes <- change:
			return true
		case <-ctx.Done():
			return false
		}
	}
	g, watching := errgroup.WithContext(ctx)
	g.Go(func() error {
		return a.store.Watch(watching, func(snap *bucketmap.Snapshot, err error) {
			tell(watching, func() { w.take(snap, err) })
		})
	})
	g.Go(func() error {
		return a.store.WatchAcks(watching, func(acks []bucketmap.Ack) bool {
			return tell(watching, func() { w.acks, w.heard = acks, true })
		})
	})
	g.Go(func() error {
		for {
			select {
			case change := <-changes:
				change()
				if err := w.show(); err != nil {
					return err
				}
			case <-watching.Done():
				return nil
			}
		}
	})
	err := g.Wait()
	if ctx.Err() == nil {
		return err
	}
	a.ended = true
	if w.snap != nil && !w.shown.Current {
		return errBehind
	}
	return nil
}

// take keeps the newest map: a store may tell of one that was in force before.
func (w *fleetWatch) take(snap *bucketmap.Snapshot, err error) {
	w.failed = ""
	if err != nil {
		w.failed = err.Error()
		return
	}
	w.snap = snap
}

// show prints what is new.
func (w *fleetWatch) show() error {
	a := w.app
	if w.snap == nil {
		if w.failed != "" {
			a.note("%s\n", w.failed)
		}
		return nil
	}
	if !w.heard {
		return nil
	}
	s := newFleetStatus(w.snap, w.acks)
	s.Error = w.failed
	before := w.shown
	w.shown = s
	if s.Version == before.Version && s.Digest == before.Digest && s.Error == before.Error && slices.Equal(s.Proxies, before.Proxies) {
		return nil
	}
	if a.json() {
		return json.NewEncoder(a.out).Encode(s)
	}
	if f, ok := a.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		var text strings.Builder
		a.printFleet(&text, s)
		const clear = "\x1b[H\x1b[2J" // to the top, and nothing below
		_, err := fmt.Fprint(f, clear, text.String())
		return err
	}
	w.lines(before, s)
	return nil
}

// lines prints a line for each change.
func (w *fleetWatch) lines(before, now fleetStatus) {
	at := time.Now().UTC().Format(time.RFC3339)
	if now.Version != before.Version || now.Digest != before.Digest {
		w.app.printf("%s map version %d, digest %s\n", at, now.Version, short(now.Digest))
	}
	if now.Error != before.Error && now.Error != "" {
		w.app.printf("%s the newest map cannot be read: %s\n", at, plain(now.Error))
	}
	was := map[string]fleetLine{}
	for _, p := range before.Proxies {
		was[p.Proxy] = p
	}
	for _, p := range now.Proxies {
		old, there := was[p.Proxy]
		delete(was, p.Proxy)
		if there && old == p {
			continue
		}
		refused := p.refusal()
		if refused != "" {
			refused = ", refused " + refused
		}
		w.app.printf("%s %s runs version %d, digest %s: %s%s\n", at, p.Proxy, p.Version, short(p.Digest), p.state(), refused)
	}
	for _, p := range before.Proxies {
		if _, gone := was[p.Proxy]; gone {
			w.app.printf("%s %s is gone\n", at, p.Proxy)
		}
	}
}
