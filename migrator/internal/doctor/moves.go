package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
	"drover/migrator/internal/promote"
)

// judgeMoves judges every open move and promotion that no live migrator has.
func (v *view) judgeMoves(n *notebook, soak time.Duration) {
	for _, id := range slices.Sorted(maps.Keys(v.records)) {
		r := v.records[id]
		if !r.Open || r.Running {
			continue
		}
		f := Finding{Shard: r.Home, Move: r.Move, Severity: Untidy, key: fmt.Sprint(r.State, r.Run, r.Updated.UnixMicro())}
		switch r.Kind {
		case journal.KindMove:
			v.judgeMove(n, r, f, soak)
		case journal.KindPromotion:
			judgePromotion(n, r, f)
		default:
			n.add(unreadable(f, fmt.Errorf("its kind is %q", r.Kind)))
		}
	}
}

func unreadable(f Finding, err error) Finding {
	f.Kind = MoveUnreadable
	f.Says = fmt.Sprintf("the journal of %s has %s, which this program cannot read: %v.", f.Shard, f.Move, err)
	f.Cause = "A newer migrator has begun it, or somebody changed the journal by hand."
	f.Decide = "Use the newer migrator; its own doctor says the rest."
	return f
}

func (v *view) judgeMove(n *notebook, r *journal.Record, f Finding, soak time.Duration) {
	m, err := move.Load(r)
	if err != nil {
		n.add(unreadable(f, err))
		return
	}
	what := fmt.Sprintf("%s (buckets %s, %s → %s)", r.Move, m.Buckets, m.From(), m.To())
	resume, abort := "migrator move resume "+string(r.Move), "migrator move abort "+string(r.Move)
	switch m.State() {
	case move.Soaking:
		if v.at.Sub(r.Since) < soak {
			return
		}
		f.Kind = SoakWithoutTail
		f.Says = fmt.Sprintf("%s has been soaking since %s and no migrator keeps the old home up to date.", what, r.Since.Format(time.RFC3339))
		f.Cause = "Nobody runs migrator bucket soak. What it has to catch up with waits in the new home's binlog; once that server deletes it, there is no way back without a copy."
		f.Mend = []string{"migrator bucket finish " + string(r.Move)}
		f.Decide = fmt.Sprintf("If the buckets are to stay, end the soak, as above. If not, keep the way back open with migrator bucket soak %s, or go back with migrator bucket return %s.", r.Move, r.Move)
	case move.Done:
		f.Kind = PurgeUnfinished
		f.Says = fmt.Sprintf("%s is done, and the purge of %s was not finished.", what, m.From())
		f.Cause = "The migrator that purged was ended."
		f.Mend = []string{resume}
	case move.Switching, move.Publishing:
		f.Kind, f.Severity, f.Mend = MoveStalled, Refusing, []string{resume}
		f.Says = fmt.Sprintf("%s is %s, and no migrator has it: it is past the commit point and must be finished.", what, r.State)
		f.Cause = "The migrator died. Until the move is resumed, writes to the buckets are refused, or go to their new home by the slow way."
	case move.Aborting, move.Aborted:
		f.Kind, f.Mend = MoveStalled, []string{resume}
		f.Says = fmt.Sprintf("%s is %s, and no migrator has it.", what, r.State)
		f.Cause = "The migrator died while it gave the move up. The buckets are at their old home."
	case move.Planned, move.Copying, move.Tailing, move.Verifying, move.Holding, move.Freezing, move.Returning:
		f.Kind, f.Mend = MoveStalled, []string{resume}
		f.Says = fmt.Sprintf("%s is %s, and no migrator has it.", what, r.State)
		f.Cause = "The migrator died or was interrupted. The buckets are at their old home."
		f.Decide = fmt.Sprintf("%s goes on with it, %s gives it up.", resume, abort)
		if m.State() == move.Freezing {
			f.Severity = Refusing
			f.Cause = "The migrator died. If it had frozen the buckets already, every write to them is refused until the move is resumed."
		}
	}
	n.add(f)
}

func judgePromotion(n *notebook, r *journal.Record, f Finding) {
	p, err := promote.Load(r)
	if err != nil {
		n.add(unreadable(f, err))
		return
	}
	f.Kind, f.Mend = MoveStalled, []string{"migrator move resume " + string(r.Move)}
	f.Says = fmt.Sprintf("%s (shard %s, %s → %s) is %s, and no migrator has it.", r.Move, p.Shard, p.Source, p.Target, r.State)
	f.Cause = "The migrator died or was interrupted."
	switch p.State() {
	case promote.Freezing, promote.Switching, promote.Publishing:
		f.Severity = Refusing
		f.Cause += " The whole shard may refuse writes until it is resumed."
	case promote.Reversing:
		f.Cause = "The old primary did not become a replica of the new one."
		f.Decide = fmt.Sprintf("If the old primary is lost, migrator shard finish %s ends the promotion without it.", p.Shard)
	case promote.Planned, promote.Replicating, promote.CatchingUp, promote.Holding, promote.Done, promote.Aborting, promote.Aborted:
	}
	n.add(f)
}

// judgeHolds finds holds that no move will end.
func (v *view) judgeHolds(n *notebook) {
	for _, h := range v.snap.Holds() {
		r, there := v.records[h.Move]
		if !there && !v.whole() {
			continue // its journal cannot be read
		}
		whose := "which is in no journal"
		if there {
			if r.Open && (r.Running || r.State != string(move.Soaking)) {
				continue // it ends it, or what is resumed does
			}
			whose = fmt.Sprintf("which is %s", r.State)
		}
		what := "buckets " + bucketmap.RangeText(h.First, h.Last)
		if h.Shard != "" {
			what = "shard " + string(h.Shard)
		}
		ends := "ended by itself at " + h.Until.UTC().Format(time.RFC3339) + " and delays nobody now"
		if v.at.Before(h.Until) {
			ends = "will end by itself at " + h.Until.UTC().Format(time.RFC3339) + " and delays users until then"
		}
		id := h.Move
		n.add(Finding{Kind: HoldLeft, Severity: Untidy, Move: id, key: what + h.Until.String(),
			Says:  fmt.Sprintf("the map holds %s for %s, %s: the hold %s.", what, id, whose, ends),
			Cause: "The migrator died before it released the hold, and the journal was lost or the move was ended without it; or a map from a backup was published.",
			Mend:  followMap(),
			fix: func(d *bucketmap.Draft, _ move.Buckets) error {
				d.DropHolds(id)
				return nil
			}})
	}
}

// judgeTails finds positions in drover_tail of no open move.
func (v *view) judgeTails(n *notebook) {
	for _, s := range v.shards {
		for _, t := range s.tails {
			r, there := v.records[t.move]
			if there && r.Open || !there && !v.whole() {
				continue
			}
			whose := "which is in no journal"
			if there {
				whose = "which is " + strings.TrimSpace(r.State) + " and over"
			}
			n.add(Finding{Kind: TailLeft, Severity: Untidy, Shard: s.server.Shard, Move: t.move,
				Says:   fmt.Sprintf("drover_tail on %s has a position of %s, %s.", s.server.Name(), t.move, whose),
				Cause:  "A restore brought it back, or the journal was lost.",
				Decide: "Nothing reads it any more: delete it.",
				SQL:    []SQL{{s.server.Name(), fmt.Sprintf("DELETE FROM drover_tail WHERE move_id = '%s'", quoted(string(t.move)))}}})
		}
	}
}
