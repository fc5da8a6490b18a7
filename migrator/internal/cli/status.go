package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
	"drover/migrator/internal/promote"
)

// status is what migrator status prints as JSON.
type status struct {
	Version     bucketmap.Version    `json:"version"`
	Default     bucketmap.Datacenter `json:"default"`
	Buckets     map[string]int       `json:"buckets"` // by datacenter; "" is no home
	Whitelisted int                  `json:"whitelisted"`
	Proxies     []proxyStatus        `json:"proxies"`
	Open        []openStatus         `json:"open"`
	Unreachable string               `json:"unreachable,omitempty"`
}

type proxyStatus struct {
	Proxy   string            `json:"proxy"`
	Version bucketmap.Version `json:"version"`
	Digest  bucketmap.Digest  `json:"digest,omitzero"`
	Since   time.Time         `json:"since"`
	Refused bucketmap.Version `json:"refused,omitempty"`
	Reason  string            `json:"reason,omitempty"`
}

type openStatus struct {
	Move    bucketmap.MoveID `json:"move"`
	Kind    journal.Kind     `json:"kind"`
	State   string           `json:"state"`
	What    string           `json:"what"`
	Who     string           `json:"who"`
	Why     string           `json:"why,omitempty"`
	Created time.Time        `json:"created"`
	Updated time.Time        `json:"updated"`
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show where the users are, what the proxies run, and what is under way",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.open(); err != nil {
				return err
			}
			s, err := a.readStatus(cmd.Context())
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(s)
			}
			a.printStatus(s)
			return nil
		},
	}
}

func (a *app) readStatus(ctx context.Context) (*status, error) {
	snap, err := a.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	s := &status{Version: snap.Version(), Default: snap.Default().Datacenter, Buckets: map[string]int{},
		Whitelisted: snap.WhitelistLen(), Proxies: []proxyStatus{}, Open: []openStatus{}}
	for run := range snap.Runs() {
		where := ""
		if shard, ok := snap.Shard(run.Shard); ok {
			where = string(shard.Datacenter)
		}
		s.Buckets[where] += int(run.Last-run.First) + 1
	}
	acks, err := a.store.Acks(ctx)
	if err != nil {
		return nil, err
	}
	for _, ack := range acks {
		s.Proxies = append(s.Proxies, proxyStatus{Proxy: ack.Proxy, Version: ack.Version, Digest: ack.Digest,
			Since: ack.Since, Refused: ack.Refused, Reason: ack.Reason})
	}
	records, err := a.openRecords(ctx)
	if err != nil {
		s.Unreachable = err.Error()
	}
	for _, r := range records {
		s.Open = append(s.Open, openStatus{Move: r.Move, Kind: r.Kind, State: r.State, What: a.describe(r),
			Who: r.Who, Why: r.Why, Created: r.Created, Updated: r.Updated})
	}
	return s, nil
}

// describe says in a few words what a record is about.
func (a *app) describe(r *journal.Record) string {
	switch r.Kind {
	case journal.KindMove:
		if m, err := move.Load(r); err == nil {
			return fmt.Sprintf("buckets %s, %s → %s", m.Buckets, m.From(), m.To())
		}
	case journal.KindPromotion:
		if p, err := promote.Load(r); err == nil {
			return fmt.Sprintf("shard %s, %s → %s", p.Shard, p.Source, p.Target)
		}
	}
	return "unreadable"
}

func (a *app) printStatus(s *status) {
	a.printf("map version %d, default %s, %d on the whitelist\n\n", s.Version, s.Default, s.Whitelisted)
	homes := a.table("datacenter", "buckets")
	for dc, n := range s.Buckets {
		if dc == "" {
			dc = "(no home)"
		}
		homes.AppendRow(table.Row{dc, n})
	}
	homes.SortBy([]table.SortBy{{Name: "datacenter"}})
	homes.Render()
	a.printf("\n")
	if len(s.Proxies) == 0 {
		a.printf("no live proxy\n")
	} else {
		proxies := a.table("proxy", "version", "since", "refused")
		for _, p := range s.Proxies {
			refused := ""
			if p.Refused != 0 {
				refused = fmt.Sprintf("%d: %s", p.Refused, plain(p.Reason))
			}
			proxies.AppendRow(table.Row{p.Proxy, p.Version, p.Since.Format(time.RFC3339), refused})
		}
		proxies.Render()
	}
	a.printf("\n")
	if len(s.Open) == 0 {
		a.printf("nothing under way\n")
	} else {
		open := a.table("id", "state", "what", "who", "updated")
		for _, o := range s.Open {
			open.AppendRow(table.Row{o.Move, o.State, o.What, o.Who, o.Updated.Format(time.RFC3339)})
		}
		open.Render()
	}
	if s.Unreachable != "" {
		a.printf("\nnot every journal could be read, so more may be under way: %s\n", s.Unreachable)
	}
}

// table starts a table of plain columns.
func (a *app) table(columns ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(a.out)
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = 0
	t.SetStyle(style)
	t.AppendHeader(table.Row(columns))
	return t
}
