package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
	"drover/migrator/internal/promote"
)

func (a *app) moveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "move",
		Short: "List and show moves and promotions, go on with one, give one up",
		Long: `List and show moves and promotions, go on with one, give one up.

A move is begun with migrator bucket move, and a promotion with migrator shard
promote. migrator bucket return, soak and finish are for what is soaking.`,
	}
	c.AddCommand(a.moveList(), a.moveShow(), a.resumeCommand(), a.abortCommand())
	return c
}

// moveLine is one move or promotion, as migrator move list prints it.
type moveLine struct {
	Move    bucketmap.MoveID    `json:"move"`
	Kind    journal.Kind        `json:"kind"`
	Buckets move.Buckets        `json:"buckets,omitempty"` // of a move
	Shard   bucketmap.ShardName `json:"shard,omitempty"`   // of a promotion
	From    string              `json:"from"`              // a shard, or of a promotion a datacenter
	To      string              `json:"to"`
	State   string              `json:"state"`
	Since   time.Time           `json:"since"` // when it came into its state
	Open    bool                `json:"open"`
	Running bool                `json:"running"` // a live migrator has it
	Run     uint32              `json:"run"`
	Who     string              `json:"who"`
	Why     string              `json:"why,omitempty"`
	Created time.Time           `json:"created"`
	Home    bucketmap.ShardName `json:"journal"` // the shard whose journal has it
	Problem string              `json:"problem,omitempty"`
}

// unreachable is a shard whose journal could not be read.
type unreachable struct {
	Shard  bucketmap.ShardName `json:"shard"`
	Reason string              `json:"reason"`
}

func lineOf(r *journal.Record) moveLine {
	l := moveLine{Move: r.Move, Kind: r.Kind, State: r.State, Since: r.Since, Open: r.Open, Running: r.Running, Run: r.Run,
		Who: r.Who, Why: r.Why, Created: r.Created, Home: r.Home}
	switch r.Kind {
	case journal.KindMove:
		m, err := move.Load(r)
		if err != nil {
			l.Problem = err.Error()
			break
		}
		l.Buckets, l.From, l.To = m.Buckets, string(m.From()), string(m.To())
	case journal.KindPromotion:
		p, err := promote.Load(r)
		if err != nil {
			l.Problem = err.Error()
			break
		}
		l.Shard, l.From, l.To = p.Shard, string(p.Source), string(p.Target)
	default:
		l.Problem = fmt.Sprintf("a %s is not known to this program: use the newer migrator", r.Kind)
	}
	return l
}

// what says in a few words what is moved.
func (l moveLine) what() string {
	if l.Shard != "" {
		return "shard " + string(l.Shard)
	}
	return "buckets " + short40(l.Buckets.String())
}

// short40 keeps the beginning of a long list.
func short40(list string) string {
	const most = 40
	if len(list) <= most {
		return list
	}
	return list[:most-1] + "…"
}

// journals reads the journals of all shards side by side, the oldest record
// first, and names the shards that cannot be asked.
func (a *app) journals(ctx context.Context, open bool) ([]*journal.Record, []unreachable, error) {
	snap, err := a.store.Load(ctx)
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	var all []*journal.Record
	var dark []unreachable
	places := make(chan struct{}, serversAtOnce)
	for _, shard := range snap.Shards() {
		group.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			var records []*journal.Record
			server, err := a.shards.In(shard.Name, shard.Datacenter)
			if err == nil {
				records, err = journal.Open(server).List(ctx, open)
			}
			if err != nil {
				records = a.promotionsElsewhere(ctx, shard, open)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, records...)
			if err != nil {
				dark = append(dark, unreachable{shard.Name, err.Error()})
			}
		})
	}
	group.Wait()
	slices.SortFunc(all, func(x, y *journal.Record) int {
		if n := x.Created.Compare(y.Created); n != 0 {
			return n
		}
		return strings.Compare(string(x.Move), string(y.Move))
	})
	slices.SortFunc(dark, func(x, y unreachable) int { return strings.Compare(string(x.Shard), string(y.Shard)) })
	return all, dark, ctx.Err()
}

func partial(dark []unreachable) error {
	if len(dark) == 0 {
		return nil
	}
	lines := make([]string, len(dark))
	for i, d := range dark {
		lines[i] = fmt.Sprintf("  %s: %s", d.Shard, d.Reason)
	}
	return fmt.Errorf("%w, so there may be more:\n%s", errPartial, strings.Join(lines, "\n"))
}

func (a *app) moveList() *cobra.Command {
	var all bool
	var state string
	c := &cobra.Command{
		Use:   "list",
		Short: "List what is under way in the journals of all shards, or with --all everything that ever was",
		Long: `List what is under way in the journals of all shards, or with --all everything
that ever was. The exit code is 2 when a shard could not be asked, whatever the
others said.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if state != "" && !slices.Contains(move.States(), move.State(state)) && !slices.Contains(promote.States(), promote.State(state)) {
				return fmt.Errorf("%w: --state %q: no move and no promotion has such a state; docs/states.md lists them", errUsage, state)
			}
			if err := a.open(); err != nil {
				return err
			}
			// What is asked for by its state may be over.
			records, dark, err := a.journals(cmd.Context(), !all && state == "")
			if err != nil {
				return err
			}
			lines := []moveLine{}
			for _, r := range records {
				if state == "" || r.State == state {
					lines = append(lines, lineOf(r))
				}
			}
			return errors.Join(a.printMoves(lines, dark), partial(dark))
		},
	}
	c.Flags().BoolVar(&all, "all", false, "those that are over, too")
	c.Flags().StringVar(&state, "state", "", "those in this state, over or not")
	return c
}

func (a *app) printMoves(lines []moveLine, dark []unreachable) error {
	if a.json() {
		return a.printJSON(struct {
			Moves       []moveLine    `json:"moves"`
			Unreachable []unreachable `json:"unreachable"`
		}{lines, append([]unreachable{}, dark...)})
	}
	if len(lines) == 0 {
		a.printf("nothing to list\n")
		return nil
	}
	t := a.table("id", "kind", "what", "from", "to", "state", "since", "migrator", "run", "who", "why")
	for _, l := range lines {
		live := map[bool]string{true: "live"}[l.Running]
		if l.Open && !l.Running {
			live = "none"
		}
		t.AppendRow(table.Row{l.Move, l.Kind, l.what(), l.From, l.To, l.State, l.Since.Format(time.RFC3339), live, l.Run, plain(l.Who), plain(l.Why)})
	}
	t.Render()
	for _, l := range lines {
		if l.Problem != "" {
			a.printf("%s: %s\n", l.Move, plain(l.Problem))
		}
	}
	return nil
}
