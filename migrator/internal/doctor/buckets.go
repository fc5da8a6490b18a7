package doctor

import (
	"fmt"
	"strings"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
	"drover/shardlib/fence"
)

// place is a bucket's row on one shard.
type place struct {
	*shardView
	row
}

// judgeBuckets walks through all shards' rows bucket by bucket: they are sorted.
func (v *view) judgeBuckets(n *notebook) {
	v.judgeStrays(n)
	expected := v.claims()
	next := make([]int, len(v.shards))
	places := make([]place, 0, len(v.shards))
	for b := bucketmap.BucketID(0); uint32(b) < v.snap.Buckets(); b++ {
		places = places[:0]
		for i, s := range v.shards {
			for next[i] < len(s.rows) && s.rows[next[i]].bucket < int64(b) {
				next[i]++
			}
			if next[i] < len(s.rows) && s.rows[next[i]].bucket == int64(b) && known(s.rows[next[i]].state) {
				places = append(places, place{s, s.rows[next[i]]})
			}
		}
		v.judgeBucket(n, b, places, expected[b])
	}
}

func known(s fence.State) bool {
	return s == fence.Active || s == fence.Frozen || s == fence.Moved || s == fence.Incoming
}

// judgeStrays finds rows that nobody writes.
func (v *view) judgeStrays(n *notebook) {
	for _, s := range v.shards {
		for _, r := range s.rows {
			outside := r.bucket < 0 || r.bucket >= int64(v.snap.Buckets())
			if !outside && known(r.state) {
				continue
			}
			n.add(Finding{Kind: RowUnknown, Severity: Refusing, Shard: s.server.Shard, key: fmt.Sprint(r.bucket, r.state),
				Says: fmt.Sprintf("the fence of %s has a row for bucket %d in state %q; the map has buckets 0 to %d, and the states are active, frozen, moved and incoming.",
					s.server.Name(), r.bucket, r.state, v.snap.Buckets()-1),
				Cause:  "Somebody wrote it by hand, or another installation shares the database. Writes to the bucket are refused here.",
				Decide: "Find out who wrote it. If the bucket is active on another shard, or is none of the map's, delete the row; otherwise give it the state that it had.",
				SQL:    []SQL{{s.server.Name(), fmt.Sprintf("DELETE FROM %s WHERE bucket = %d AND state = '%s'", fence.Table, r.bucket, quoted(string(r.state)))}}})
		}
	}
}

// quoted makes text safe within single quotes.
func quoted(text string) string { return strings.NewReplacer(`\`, `\\`, "'", "''").Replace(text) }

// judgeBucket judges one bucket. expected is the open move that must have its
// rows, nil for none.
func (v *view) judgeBucket(n *notebook, b bucketmap.BucketID, places []place, expected *journal.Record) {
	var active []place
	var mover *journal.Record // the open move that has a row of the bucket
	for _, p := range places {
		if p.state == fence.Active {
			active = append(active, p)
		}
		if r, ok := v.records[p.token.Move]; ok && r.Open {
			mover = r
		}
	}
	if len(active) > 1 {
		n.bucket(b, v.twoHomes(active))
		return
	}
	if mover != nil && mover.Running {
		return // a live migrator answers for it
	}
	for _, p := range places {
		v.judgeToken(n, b, p, len(active) == 1)
	}
	if expected != nil && !expected.Running {
		v.judgeClaim(n, b, places, expected)
	}
	if len(active) == 1 {
		v.judgeHome(n, b, active[0], places, mover)
	} else if v.whole() && mover == nil {
		v.judgeHomeless(n, b, places)
	}
}

func (v *view) twoHomes(active []place) Finding {
	var says, key []string
	for _, p := range active {
		says = append(says, fmt.Sprintf("%s with epoch %d", p.server.Name(), p.epoch))
		key = append(key, fmt.Sprint(p.server.Addr, p.epoch))
	}
	return Finding{Kind: TwoHomes, Severity: Danger, key: strings.Join(key, " "),
		Says: "ACTIVE ON MORE THAN ONE SHARD: " + strings.Join(says, ", and on ") + ". Writes are accepted on each, and the copies part from one another now.",
		Cause: "Nothing that the migrator does leads here: a fence row was changed by hand, or a database was restored from a backup " +
			"made before the bucket moved away.",
		Decide: "A person must say which copy is the right one; it is most often that with the higher epoch. Freeze the other one at once, by the statement for its server, " +
			"which stops the writes there and loses nothing; the copies can be compared and joined then. Do not execute all of them: that would refuse every write.",
		sql: func(buckets move.Buckets) []SQL {
			var all []SQL
			for _, p := range active {
				all = append(all, SQL{p.server.Name(), fmt.Sprintf("UPDATE %s SET state = 'frozen' WHERE bucket IN (%s) AND state = 'active' AND epoch = %d",
					fence.Table, inSQL(buckets), p.epoch)})
			}
			return all
		}}
}

// judgeToken judges a row whose token is of no open move, or of a run that the
// journal does not know, and a row that only a move may leave as it is.
func (v *view) judgeToken(n *notebook, b bucketmap.BucketID, p place, lives bool) {
	record, there := v.records[p.token.Move]
	switch {
	case p.text != "" && !there && !v.whole():
		return // it may be in a journal that cannot be read
	case there && record.Open && p.token.Run > record.Run:
		n.bucket(b, Finding{Kind: TokenAhead, Severity: Danger, Shard: p.server.Shard, Move: p.token.Move, key: p.text,
			Says:   fmt.Sprintf("carry the token %s on %s, and the journal of %s knows no run after %d.", p.text, p.server.Name(), record.Home, record.Run),
			Cause:  "The journal's database was restored from a backup, or lost its last transactions. What the lost runs did is not known to it.",
			Decide: "Find out how far the move was. The statement counts the journal's run up, so that migrator move resume can take the rows over; the fence's row then decides on which side of the commit point the move is.",
			SQL: []SQL{{string(record.Home), fmt.Sprintf("UPDATE drover_move SET run = %d WHERE id = '%s' AND run = %d",
				p.token.Run, quoted(string(p.token.Move)), record.Run)}}})
		return
	case there && record.Open:
		v.judgeFrozen(n, b, p, record)
		return
	}
	whose, cause := v.whose(p)
	f := Finding{Severity: Untidy, Shard: p.server.Shard, Move: p.token.Move, key: string(p.state) + p.text, Cause: cause}
	change := "move_id = ''"
	switch p.state {
	case fence.Frozen:
		f.Kind, f.Severity = RowFrozen, Refusing
		f.Says = fmt.Sprintf("frozen on %s, %s: every write to them is refused, and nobody will go on.", p.server.Name(), whose)
		f.Decide = "No other shard has them active, so this is their home still: make them active again."
		change = "state = 'active', move_id = ''"
		if lives {
			f.Severity = Untidy
			f.Says = fmt.Sprintf("frozen on %s, %s, though they are active on another shard.", p.server.Name(), whose)
			f.Decide = "They live on the other shard: what is here is old. Make the rows moved."
			change = "state = 'moved', move_id = ''"
		} else if !v.whole() {
			return // perhaps active on a shard that cannot be read
		}
	case fence.Incoming:
		f.Kind = RowIncoming
		f.Says = fmt.Sprintf("incoming on %s, %s.", p.server.Name(), whose)
		f.Decide = "Nothing will come any more. Make the rows moved, so that another move can come here; doctor --rows then shows what was copied, which must be deleted first."
		change = "state = 'moved', move_id = ''"
	case fence.Active, fence.Moved:
		if p.text == "" {
			return
		}
		f.Kind = TokenUnknown
		f.Says = fmt.Sprintf("%s on %s, %s: no other move can have them.", p.state, p.server.Name(), whose)
		f.Decide = "The move is over or was never journaled, so nobody will take the token off. Users are not harmed by it, and the statement changes nothing else."
	default:
		return
	}
	f.sql = func(buckets move.Buckets) []SQL {
		return []SQL{{p.server.Name(), fmt.Sprintf("UPDATE %s SET %s WHERE bucket IN (%s) AND state = '%s' AND move_id = '%s'",
			fence.Table, change, inSQL(buckets), p.state, quoted(p.text))}}
	}
	n.bucket(b, f)
}

// whose says who has a row that no open move has.
func (v *view) whose(p place) (whose, cause string) {
	record, there := v.records[p.token.Move]
	switch {
	case p.text == "":
		return "with no move's token", "Somebody changed the row by hand, or restored the table."
	case there:
		return fmt.Sprintf("with the token %s, whose move is %s and over", p.text, record.State),
			"The row was restored from a backup that was made while the move was under way, or was changed by hand."
	default:
		return fmt.Sprintf("with the token %s of a move that is in no journal", p.text),
			"The journal was lost or restored from a backup that is older than the move, or the shard that has it was taken out of the map."
	}
}

// judgeFrozen finds a frozen row of an open move that will not go on with it:
// what is resumed thaws rows in the states holding and freezing alone.
func (v *view) judgeFrozen(n *notebook, b bucketmap.BucketID, p place, record *journal.Record) {
	state := move.State(record.State)
	if p.state != fence.Frozen || record.Kind != journal.KindMove || state == move.Holding || state == move.Freezing {
		return
	}
	n.bucket(b, Finding{Kind: RowFrozen, Severity: Refusing, Shard: p.server.Shard, Move: record.Move, key: p.text + record.State,
		Says:   fmt.Sprintf("frozen on %s by %s, which is %s and does not freeze there: every write to them is refused.", p.server.Name(), record.Move, record.State),
		Cause:  "The row was changed by hand, or the journal and the fence were restored from backups of different times.",
		Decide: "Make the rows active again if no other shard has them active; the move can then be resumed or aborted.",
		sql: func(buckets move.Buckets) []SQL {
			return []SQL{{p.server.Name(), fmt.Sprintf("UPDATE %s SET state = 'active' WHERE bucket IN (%s) AND state = 'frozen' AND move_id = '%s'",
				fence.Table, inSQL(buckets), quoted(p.text))}}
		}})
}

// claims gives, for every bucket, the open move that must have its rows.
func (v *view) claims() map[bucketmap.BucketID]*journal.Record {
	claims := map[bucketmap.BucketID]*journal.Record{}
	for _, r := range v.records {
		if !r.Open || r.Kind != journal.KindMove {
			continue
		}
		m, err := move.Load(r)
		if err != nil {
			continue // said by judgeMoves
		}
		switch m.State() {
		case move.Planned, move.Copying, move.Aborting, move.Aborted, move.Done:
			continue // has not claimed all of them yet, or lets them go one by one
		case move.Tailing, move.Verifying, move.Holding, move.Freezing, move.Switching, move.Publishing, move.Soaking, move.Returning:
		}
		for _, b := range m.Buckets {
			claims[b] = r
		}
	}
	return claims
}

func (v *view) judgeClaim(n *notebook, b bucketmap.BucketID, places []place, r *journal.Record) {
	m, err := move.Load(r)
	if err != nil {
		return
	}
	for _, s := range v.shards {
		if s.server.Shard != m.Source && s.server.Shard != m.Target {
			continue
		}
		has := "no row"
		for _, p := range places {
			if p.shardView == s {
				has = fmt.Sprintf("a row that is %s with the token %q", p.state, p.text)
				if p.token.Move == r.Move {
					has = ""
				}
			}
		}
		if has == "" {
			continue
		}
		n.bucket(b, Finding{Kind: MoveLostRows, Severity: Untidy, Shard: s.server.Shard, Move: r.Move, key: has + r.State,
			Says:  fmt.Sprintf("of %s, which is %s, have %s on %s: the move can neither go on nor go back.", r.Move, r.State, has, s.server.Name()),
			Cause: "The rows were changed by hand, or the database was restored from a backup. The move refuses to touch rows that are not its own.",
			Decide: "Find out what happened to the rows. If the move is to go on, give the rows the state that the state of the move asks for (docs/design.md, section 6) and its token; " +
				"then run migrator move resume " + string(r.Move) + ".",
			SQL: []SQL{{s.server.Name(), fmt.Sprintf("SELECT * FROM %s WHERE bucket = %d", fence.Table, b)}}})
	}
}

// judgeHome compares the one active row with the map and with the other rows.
func (v *view) judgeHome(n *notebook, b bucketmap.BucketID, p place, places []place, mover *journal.Record) {
	for _, o := range places {
		if o.shardView != p.shardView && o.state == fence.Moved && o.epoch > p.epoch+1 { // one above: a move that was aborted
			n.bucket(b, Finding{Kind: EpochBehind, Severity: Danger, Shard: p.server.Shard, key: fmt.Sprint(p.epoch, o.epoch, o.server.Addr),
				Says: fmt.Sprintf("active on %s with epoch %d, and %s, which they have left, has seen epoch %d.", p.server.Name(), p.epoch, o.server.Name(), o.epoch),
				Cause: "The home's database was restored from a backup that is older than the move: it has lost what was written since. " +
					"Or a row was changed by hand.",
				Decide: "Compare the rows of both shards before anything else is written; the newer ones may be on the other shard. Freeze the buckets meanwhile.",
				sql: func(buckets move.Buckets) []SQL {
					return []SQL{{p.server.Name(), fmt.Sprintf("UPDATE %s SET state = 'frozen' WHERE bucket IN (%s) AND state = 'active' AND epoch = %d",
						fence.Table, inSQL(buckets), p.epoch)}}
				}})
			return
		}
	}
	if mover != nil && move.State(mover.State) != move.Soaking {
		return // what is resumed publishes the map
	}
	home, ok := v.snap.Home(b)
	shard, epoch := p.server.Shard, p.epoch
	fix := func(d *bucketmap.Draft, buckets move.Buckets) error {
		if d.Epochs == nil {
			d.Epochs = map[bucketmap.BucketID]bucketmap.Epoch{}
		}
		for _, b := range buckets {
			if err := d.SetHome(b, b, shard); err != nil {
				return err
			}
			d.Epochs[b] = epoch
		}
		return nil
	}
	switch {
	case !ok || home.Name != shard:
		says := "on no shard"
		if ok {
			says = "on " + string(home.Name)
		}
		n.bucket(b, Finding{Kind: MapHome, Severity: Refusing, Shard: shard, key: fmt.Sprint(says, epoch),
			Says:  fmt.Sprintf("active on %s, and the map has them %s: where the map sends users, their writes are refused.", p.server.Name(), says),
			Cause: "A map was published with --force-homes or from an old backup of the store. The database decides: the map must follow.",
			Mend:  followMap(), fix: fix})
	case v.snap.Epoch(b) != epoch:
		n.bucket(b, Finding{Kind: MapEpoch, Severity: Untidy, Shard: shard, key: fmt.Sprint(epoch, v.snap.Epoch(b)),
			Says: fmt.Sprintf("active on %s with epoch %d, and the map says epoch %d: caches go by the map's epoch, and may answer with what is older.",
				p.server.Name(), epoch, v.snap.Epoch(b)),
			Cause: "A map was published by hand or from an old backup of the store. The database decides: the map must follow.",
			Mend:  followMap(), fix: fix})
	}
}

// followMap are the commands that publish the map that follows the databases.
func followMap() []string {
	return []string{"migrator doctor --write-map mended.yaml", "migrator map push mended.yaml"}
}

// judgeHomeless judges a bucket that no shard has active and no open move has.
func (v *view) judgeHomeless(n *notebook, b bucketmap.BucketID, places []place) {
	home, mapped := v.snap.Home(b)
	for _, p := range places {
		if p.state == fence.Frozen {
			return // judgeToken has said it
		}
	}
	switch {
	case !mapped:
	case len(places) == 0:
		n.bucket(b, Finding{Kind: RowMissing, Severity: Refusing, Shard: home.Name, key: fmt.Sprint(v.snap.Epoch(b)),
			Says:   fmt.Sprintf("have no row in any fence, and the map has them on %s: every write to them is refused.", home.Name),
			Cause:  "The rows were deleted by hand or lost with a restore, or the map was given buckets without migrator init.",
			Decide: "If their users' rows are on that shard, make them active there.",
			sql: func(buckets move.Buckets) []SQL {
				values := make([]string, len(buckets))
				for i, b := range buckets {
					values[i] = fmt.Sprintf("(%d, 'active', %d)", b, v.snap.Epoch(b))
				}
				return []SQL{{v.nameOf(home), "INSERT INTO " + fence.Table + " (bucket, state, epoch) VALUES " + strings.Join(values, ", ")}}
			}})
	default:
		last := places[0]
		for _, p := range places {
			if p.epoch > last.epoch {
				last = p
			}
		}
		n.bucket(b, Finding{Kind: NoHome, Severity: Refusing, Shard: last.server.Shard, key: fmt.Sprint(last.epoch, last.state),
			Says:  fmt.Sprintf("active on no shard; the newest row is %s on %s, with epoch %d, and it has no successor: every write to them is refused.", last.state, last.server.Name(), last.epoch),
			Cause: "The shard that they moved to was restored from an older backup or taken out of the map, or rows were changed by hand.",
			Decide: "A person must find the shard that has the newest rows. Make the buckets active there alone, with an epoch above every other. " +
				"The statement does so for the shard with the newest row of the fence.",
			sql: func(buckets move.Buckets) []SQL {
				return []SQL{{last.server.Name(), fmt.Sprintf("UPDATE %s SET state = 'active', epoch = epoch + 1, move_id = '' WHERE bucket IN (%s) AND state = '%s' AND epoch = %d",
					fence.Table, inSQL(buckets), last.state, last.epoch)}}
			}})
	}
}

func (v *view) nameOf(shard bucketmap.Shard) string {
	for _, s := range v.shards {
		if s.server.Shard == shard.Name {
			return s.server.Name()
		}
	}
	return string(shard.Name)
}
