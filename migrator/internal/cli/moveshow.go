package cli

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/database"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
	"drover/migrator/internal/promote"
)

// visitLine is one stay in a state.
type visitLine struct {
	journal.Visit
	Seconds float64 `json:"took_seconds"`
}

// stayLine is all the time in one state.
type stayLine struct {
	State   string  `json:"state"`
	Visits  int     `json:"visits"`
	Seconds float64 `json:"took_seconds"`
}

func stayLines(stays []journal.Stay) []stayLine {
	lines := []stayLine{}
	for _, s := range stays {
		lines = append(lines, stayLine{s.State, s.Visits, s.Took.Seconds()})
	}
	return lines
}

// stayWords are the stays for people.
func stayWords(stays []stayLine) string {
	words := make([]string, len(stays))
	for i, s := range stays {
		words[i] = fmt.Sprintf("%s %s", s.State, time.Duration(s.Seconds*float64(time.Second)).Round(time.Millisecond))
		if s.Visits > 1 {
			words[i] += fmt.Sprintf(" (%d times)", s.Visits)
		}
	}
	return strings.Join(words, ", ")
}

// shown is what migrator move show prints as JSON.
type shown struct {
	moveLine
	Passport []visitLine `json:"passport"`
	States   []stayLine  `json:"states"`
	// Tries is how often a freeze was tried, and StepsBack why it came to nothing.
	Tries     int                `json:"freeze_tries"`
	StepsBack []journal.StepBack `json:"steps_back"`
	// Unwritable is the time from the last freeze to the new home: what a writer
	// may have waited at most.
	Unwritable *float64 `json:"unwritable_max_seconds,omitempty"`
	// Stall is for how long the buckets could not be written at the last change of
	// home, as the migrator that made it measured.
	Stall      *float64 `json:"write_stall_seconds,omitempty"`
	RowsCopied *int64   `json:"copied_rows,omitempty"`
	// Lag is how far the tail, or of what is soaking the reverse tail, is behind.
	Lag    *uint64         `json:"tail_lag_transactions,omitempty"`
	Holder *journal.Holder `json:"holder,omitempty"`
	Next   []string        `json:"next"`
	// Unknown says what could not be found out, and why.
	Unknown []string `json:"unknown"`
}

func (a *app) moveShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show MOVE|BUCKET",
		Short: "Show a move's passport: every state, when and for how long, who has it, and what may be done next",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.open(); err != nil {
				return err
			}
			ctx := cmd.Context()
			record, dark, err := a.findAny(ctx, args[0])
			if err != nil {
				return err
			}
			if record == nil {
				if err := partial(dark); err != nil {
					return fmt.Errorf("no move or promotion called %q on the shards that answer: %w", args[0], err)
				}
				return fmt.Errorf("%w: no journal has a move or promotion called %q; migrator move list --all lists them", errRefused, args[0])
			}
			s, err := a.readShown(ctx, record)
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(s)
			}
			a.printShown(s)
			return nil
		},
	}
}

// findAny finds a record, open or not, by its id, or by a bucket: an open one
// that has it, or the newest. It returns nil when there is none.
func (a *app) findAny(ctx context.Context, name string) (*journal.Record, []unreachable, error) {
	records, dark, err := a.journals(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	var bucket *bucketmap.BucketID
	if snap, err := a.store.Load(ctx); err == nil {
		if buckets, err := move.ParseBuckets(name, snap.Buckets()); err == nil && len(buckets) == 1 {
			bucket = &buckets[0]
		}
	}
	var found *journal.Record
	for _, r := range records { // the oldest first
		if string(r.Move) == name {
			return r, dark, nil
		}
		if bucket == nil || r.Kind != journal.KindMove || found != nil && found.Open && !r.Open {
			continue
		}
		if m, err := move.Load(r); err == nil && slices.Contains(m.Buckets, *bucket) {
			found = r
		}
	}
	return found, dark, nil
}

func (a *app) readShown(ctx context.Context, r *journal.Record) (*shown, error) {
	server, err := a.shards.Primary(ctx, r.Home)
	if err != nil {
		return nil, err
	}
	j := journal.Open(server)
	entries, err := j.Entries(ctx, r.Move)
	if err != nil {
		return nil, err
	}
	visits := journal.Passport(entries, r.Open, time.Now())
	s := &shown{moveLine: lineOf(r), Passport: []visitLine{}, States: stayLines(journal.Stays(visits)),
		StepsBack: append([]journal.StepBack{}, journal.StepsBack(visits)...), Next: nextOf(r), Unknown: []string{}}
	for i, v := range visits {
		s.Passport = append(s.Passport, visitLine{v, v.Took.Seconds()})
		if v.State == string(move.Holding) {
			s.Tries++
		}
		if v.State == string(move.Publishing) && i >= 2 && visits[i-2].State == string(move.Freezing) {
			seconds := v.Entered.Sub(visits[i-2].Entered).Seconds()
			s.Unwritable = &seconds
		}
	}
	unknown := func(what string, err error) {
		if err != nil {
			s.Unknown = append(s.Unknown, what+": "+err.Error())
		}
	}
	s.Holder, err = j.Holder(ctx, r.Move)
	unknown("who has it", err)
	m, err := move.Load(r)
	if err != nil {
		return s, ctx.Err() // a promotion, or what only a newer migrator knows
	}
	if s.RowsCopied = m.Copied; m.Stall > 0 {
		seconds := m.Stall.Seconds()
		s.Stall = &seconds
	}
	if r.Open {
		if m.Copied == nil {
			unknown("the rows copied", a.readCopied(ctx, m, s))
		}
		unknown("the tail's lag", a.readLag(ctx, m, s))
	}
	return s, ctx.Err()
}

// readCopied reads the copy's cursor at the target.
func (a *app) readCopied(ctx context.Context, m *move.Move, s *shown) error {
	server, err := a.shards.Primary(ctx, m.Target)
	if err != nil {
		return err
	}
	var text []byte
	err = server.DB.QueryRowContext(ctx, "SELECT progress FROM drover_tail WHERE move_id = ? AND leg = 1", string(m.Record.Move)).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // not begun
	}
	if err != nil {
		return err
	}
	var cursor struct {
		Rows *int64 `json:"rows"`
	}
	if err := json.Unmarshal(text, &cursor); err != nil {
		return fmt.Errorf("the copy's cursor: %w", err)
	}
	s.RowsCopied = cursor.Rows
	return nil
}

// readLag compares the position that the tail has saved with the end of the
// binlog that it reads. What is soaking has the tail of the leg back.
func (a *app) readLag(ctx context.Context, m *move.Move, s *shown) error {
	detail := m.Detail
	switch m.State() {
	case move.Soaking:
		detail.Leg++
	case move.Tailing, move.Verifying, move.Holding, move.Freezing, move.Returning:
	case move.Planned, move.Copying, move.Switching, move.Publishing, move.Done, move.Aborting, move.Aborted:
		return nil
	}
	reads, err := a.shards.Primary(ctx, detail.From())
	if err != nil {
		return err
	}
	writes, err := a.shards.Primary(ctx, detail.To())
	if err != nil {
		return err
	}
	var text string
	if err := writes.DB.QueryRowContext(ctx, "SELECT position FROM drover_tail WHERE move_id = ? AND leg = ?",
		string(m.Record.Move), detail.Leg).Scan(&text); err != nil {
		return fmt.Errorf("its position on %s: %w", writes.Name(), err)
	}
	position, err := database.ParsePosition(text)
	if err != nil {
		return err
	}
	end, err := reads.BinlogPosition(ctx)
	if err != nil {
		return err
	}
	lag := position.Lag(end)
	s.Lag = &lag
	return nil
}

// nextOf are the commands that a record's state allows.
func nextOf(r *journal.Record) []string {
	id := string(r.Move)
	resume, abort := "migrator move resume "+id, "migrator move abort "+id
	switch {
	case !r.Open:
		return []string{}
	case r.Kind == journal.KindPromotion:
		switch promote.State(r.State) {
		case promote.Planned, promote.Replicating, promote.CatchingUp, promote.Holding, promote.Freezing:
			return []string{resume, abort}
		case promote.Reversing:
			return []string{resume, "migrator shard finish " + string(r.Home)}
		case promote.Switching, promote.Publishing, promote.Aborting, promote.Aborted, promote.Done:
		}
		return []string{resume}
	}
	switch move.State(r.State) {
	case move.Soaking:
		return []string{"migrator bucket soak " + id, "migrator bucket return " + id, "migrator bucket finish " + id}
	case move.Planned, move.Copying, move.Tailing, move.Verifying, move.Holding, move.Freezing, move.Returning:
		return []string{resume, abort}
	case move.Switching, move.Publishing, move.Aborting, move.Aborted, move.Done:
	}
	return []string{resume}
}

func (a *app) printShown(s *shown) {
	a.printf("%s: %s, %s → %s, is %s since %s", s.Move, s.what(), s.From, s.To, s.State, s.Since.Format(time.RFC3339))
	if !s.Open {
		a.printf(", and over")
	}
	a.printf("\nby %s, run %d, in the journal of %s", plain(s.Who), s.Run, s.Home)
	if s.Why != "" {
		a.printf(": %s", plain(s.Why))
	}
	a.printf("\n\n")
	t := a.table("state", "entered", "took", "run", "host", "note")
	for _, v := range s.Passport {
		took := v.Took.Round(time.Millisecond).String()
		if v.Last && s.Open {
			took += " so far"
		} else if v.Last {
			took = ""
		}
		t.AppendRow(table.Row{v.State, v.Entered.Format("2006-01-02 15:04:05.000"), took, v.Run, v.Host, plain(v.Note)})
	}
	t.Render()
	a.printf("\n")
	if len(s.States) != 0 {
		a.printf("time in each state: %s\n", stayWords(s.States))
	}
	if s.RowsCopied != nil {
		a.printf("rows copied: %d\n", *s.RowsCopied)
	}
	if s.Lag != nil {
		a.printf("the tail is %d transactions behind\n", *s.Lag)
	}
	if s.Tries != 0 {
		a.printf("a freeze was tried %d times, and stepped back %d times\n", s.Tries, len(s.StepsBack))
	}
	if s.Stall != nil {
		a.printf("write stall of the last change of home: %s\n", time.Duration(*s.Stall*float64(time.Second)).Round(100*time.Microsecond))
	} else if s.Unwritable != nil {
		a.printf("from the freeze to the new home: %s\n", time.Duration(*s.Unwritable*float64(time.Second)).Round(100*time.Microsecond))
	}
	for _, u := range s.Unknown {
		a.printf("not known: %s\n", plain(u))
	}
	switch {
	case s.Holder != nil:
		a.printf("a migrator has it: %s\n", s.Holder)
	case s.Open:
		a.printf("no migrator has it\n")
	}
	for _, next := range s.Next {
		a.printf("next: %s\n", next)
	}
}
