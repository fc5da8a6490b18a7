package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"drover/bucketmap"
	"drover/migrator/internal/journal"
	"drover/migrator/internal/move"
	"drover/shardlib/fence"
)

// promotionOf returns the open promotion of a shard, nil for none.
func (v *view) promotionOf(shard bucketmap.ShardName) *journal.Record {
	for _, id := range slices.Sorted(maps.Keys(v.records)) {
		if r := v.records[id]; r.Open && r.Kind == journal.KindPromotion && r.Home == shard {
			return r
		}
	}
	return nil
}

// judgeServers compares every shard's servers with the map.
func (v *view) judgeServers(n *notebook, d *Doctor) {
	for _, shard := range v.snap.Shards() {
		if _, ok := d.List.Address(shard.Name, shard.Datacenter); !ok {
			n.add(Finding{Kind: ServerUnlisted, Severity: Refusing, Shard: shard.Name, key: string(shard.Datacenter), Says: unlisted(shard),
				Cause:  "The shard list was not brought up to date with the map, or the map names the wrong datacenter.",
				Decide: "Add the server to the shard list, here and where the applications run."})
		}
	}
	for _, s := range v.shards {
		v.judgeTables(n, s)
		if v.promotionOf(s.server.Shard) != nil {
			continue // it is judged as a move
		}
		v.judgeShardRow(n, s)
		if s.readOnly {
			n.add(Finding{Kind: PrimaryReadOnly, Severity: Refusing, Shard: s.server.Shard,
				Says:   fmt.Sprintf("%s is the primary by the map, and is read-only: applications cannot write.", s.server.Name()),
				Cause:  "The server was restarted with read_only in its configuration, or somebody set it.",
				Decide: "If this server is the primary indeed, and replicates from no other, make it writable.",
				SQL:    []SQL{{s.server.Name(), "SET GLOBAL read_only = 0"}}})
		}
	}
	for _, o := range v.others {
		if v.promotionOf(o.server.Shard) == nil && o.replica && !o.readOnly {
			n.add(Finding{Kind: ReplicaWritable, Severity: Untidy, Shard: o.server.Shard, key: o.server.Addr,
				Says:   fmt.Sprintf("%s is a replica, and is not read-only: what is written there parts it from its primary.", o.server.Name()),
				Cause:  "The server was restarted without read_only in its configuration, or somebody set it. The fence refuses fenced writes there all the same.",
				Decide: "Make it read-only. SELECT @@gtid_current_pos on both servers shows whether it has transactions of its own.",
				SQL:    []SQL{{o.server.Name(), "SET GLOBAL read_only = 1"}}})
		}
	}
}

// judgeShardRow judges the row of the whole shard, on its primary by the map and
// on its other servers.
func (v *view) judgeShardRow(n *notebook, s *shardView) {
	shard, _ := v.snap.Shard(s.server.Shard)
	own := s.shardRow != nil && s.shardRow.state == fence.Active && s.shardRow.serverID == s.id
	for _, o := range v.others {
		if o.server.Shard != s.server.Shard || o.shardRow == nil || o.shardRow.state != fence.Active || o.shardRow.serverID != o.id || o.id == s.id {
			continue
		}
		if own {
			n.add(v.twoPrimaries(s, o))
		} else {
			n.add(v.shardHome(s, o, shard))
		}
		return
	}
	f := Finding{Kind: ShardRow, Severity: Refusing, Shard: shard.Name}
	row := s.shardRow
	switch {
	case row == nil && slices.Contains(s.missing, fence.Table):
		return // said by judgeTables
	case row == nil:
		f.Says = fmt.Sprintf("the fence of %s has no row for the shard: every write is refused there.", s.server.Name())
		f.Cause = "The row was deleted by hand, or lost with a restore."
		f.Decide = "If this server is the shard's primary, write the row."
		f.SQL = []SQL{{s.server.Name(), fmt.Sprintf("INSERT INTO %s (bucket, state, epoch, server_id) VALUES (%d, 'active', %d, @@server_id)", fence.Table, fence.ShardRow, shard.Epoch)}}
	case row.serverID != s.id:
		f.key = fmt.Sprint(row.serverID, s.id)
		f.Says = fmt.Sprintf("the shard's row on %s is for the server with server_id %d, and this one has %d: every write is refused there.", s.server.Name(), row.serverID, s.id)
		f.Cause = "The server was rebuilt or copied with another server_id, its configuration was changed, or the map names a server that is not the primary."
		f.Decide = fmt.Sprintf("If no server with server_id %d takes writes any more and this one has them all, name this one in the row.", row.serverID)
		f.SQL = []SQL{{s.server.Name(), fmt.Sprintf("UPDATE %s SET server_id = @@server_id WHERE bucket = %d AND server_id = %d", fence.Table, fence.ShardRow, row.serverID)}}
	case row.state != fence.Active || row.text != "":
		f.key = string(row.state) + row.text
		f.Says = fmt.Sprintf("the shard's row on %s is %s with the token %q, and no promotion of the shard is open.", s.server.Name(), row.state, row.text)
		f.Cause = "The row was changed by hand, or the journal was lost or restored from an older backup."
		f.Decide = "If no other server of the shard is its primary, make the row active. Where it is moved, another server has been the primary: look for it first."
		f.SQL = []SQL{{s.server.Name(), fmt.Sprintf("UPDATE %s SET state = 'active', move_id = '' WHERE bucket = %d AND state = '%s' AND move_id = '%s'",
			fence.Table, fence.ShardRow, quoted(string(row.state)), quoted(row.text))}}
	case row.epoch != shard.Epoch:
		epoch := row.epoch
		f.Kind, f.Severity, f.key = ShardEpoch, Untidy, fmt.Sprint(row.epoch, shard.Epoch)
		f.Says = fmt.Sprintf("the shard has epoch %d on %s, and %d in the map.", row.epoch, s.server.Name(), shard.Epoch)
		f.Cause = "A map was published by hand or from an old backup of the store. The database decides: the map must follow."
		f.Mend = followMap()
		f.fix = func(d *bucketmap.Draft, _ move.Buckets) error {
			shard.Epoch = epoch
			return d.PutShard(shard)
		}
	default:
		return
	}
	n.add(f)
}

func (v *view) twoPrimaries(s *shardView, o *serverView) Finding {
	freeze := func(server *serverView) SQL {
		return SQL{server.server.Name(), fmt.Sprintf("UPDATE %s SET state = 'frozen' WHERE bucket = %d AND state = 'active' AND epoch = %d",
			fence.Table, fence.ShardRow, server.shardRow.epoch)}
	}
	return Finding{Kind: TwoPrimaries, Severity: Danger, Shard: s.server.Shard, key: fmt.Sprint(s.shardRow.epoch, o.shardRow.epoch, o.server.Addr),
		Says: fmt.Sprintf("TWO SERVERS OF THE SHARD ARE ACTIVE: %s with epoch %d, and %s with epoch %d. Writes are accepted on both, and they part from one another now.",
			s.server.Name(), s.shardRow.epoch, o.server.Name(), o.shardRow.epoch),
		Cause:  "A row was changed by hand, or a server was restored from a backup that was made while it was the primary.",
		Decide: "A person must say which is the primary; it is most often that with the higher epoch. Freeze the other one at once, by the statement for its server. Do not execute both.",
		SQL:    []SQL{freeze(&s.serverView), freeze(o)}}
}

func (v *view) shardHome(s *shardView, o *serverView, shard bucketmap.Shard) Finding {
	epoch, dc := o.shardRow.epoch, o.server.Datacenter
	return Finding{Kind: ShardHome, Severity: Refusing, Shard: shard.Name, key: fmt.Sprint(epoch, dc),
		Says: fmt.Sprintf("the map says that the shard lives in %s, and by the fence its primary is %s.", shard.Datacenter, o.server.Name()),
		Cause: "A map was published with --force-homes or from an old backup of the store, or a replica was promoted by other means than migrator shard promote. " +
			"The database decides: the map must follow.",
		Mend: followMap(),
		fix: func(d *bucketmap.Draft, _ move.Buckets) error {
			shard.Datacenter, shard.Epoch = dc, epoch
			return d.PutShard(shard)
		}}
}

// judgeTables judges the tables that migrator init makes, and their version.
func (v *view) judgeTables(n *notebook, s *shardView) {
	if len(s.missing) != 0 {
		severity := Untidy
		if slices.Contains(s.missing, fence.Table) {
			severity = Refusing
		}
		n.add(Finding{Kind: TablesMissing, Severity: severity, Shard: s.server.Shard, key: strings.Join(s.missing, " "),
			Says:   fmt.Sprintf("%s has no table %s.", s.server.Name(), strings.Join(s.missing, ", ")),
			Cause:  "The shard was added to the map without migrator init, or the tables were dropped.",
			Decide: "Run migrator init with the flags of the first time: it makes what is missing, and changes nothing that is there."})
	}
	version, ok := strings.CutPrefix(s.comment, "drover fence, schema ")
	number, err := strconv.Atoi(version)
	f := Finding{Kind: FenceSchema, Severity: Untidy, Shard: s.server.Shard, key: s.comment,
		Says: fmt.Sprintf("the fence of %s has %q, and this program knows schema %d.", s.server.Name(), s.comment, fence.SchemaVersion)}
	switch {
	case slices.Contains(s.missing, fence.Table), ok && err == nil && number == fence.SchemaVersion:
		return
	case ok && err == nil && number < fence.SchemaVersion:
		f.Cause = "The fence was installed by an older migrator."
		f.Mend = []string{"migrator fence install"}
	case ok && err == nil:
		f.Cause = "The fence was installed by a newer migrator."
		f.Decide = "Use that migrator: this one may not understand the rows."
	default:
		f.Cause = "The table was made by hand, or its comment was changed."
		f.Decide = "If its columns are those of this version, give it the comment."
		f.SQL = []SQL{{s.server.Name(), fmt.Sprintf("ALTER TABLE %s COMMENT = 'drover fence, schema %d'", fence.Table, fence.SchemaVersion)}}
	}
	n.add(f)
}
