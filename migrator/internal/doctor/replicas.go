package doctor

import (
	"fmt"
	"strings"

	"drover/migrator/internal/journal"
	"drover/migrator/internal/promote"
	"drover/shardlib/fence"
)

// judgeReplicas judges the shard's other servers by what they have of the
// primary's transactions, and the old primary of a promotion that is past its
// commit point: after a failover it may come back as it was.
func (v *view) judgeReplicas(n *notebook) {
	for _, s := range v.shards {
		open := v.promotionOf(s.server.Shard)
		if open != nil && open.Running {
			continue // a live migrator answers for it
		}
		lost := lostIn(open)
		for _, o := range v.others {
			if o.server.Shard != s.server.Shard {
				continue
			}
			if lost != nil && o.server.Datacenter == lost.Source && o.server.Datacenter != s.server.Datacenter {
				judgeOldPrimary(n, s, o, open)
			}
			judgeErrant(n, s, o, lost)
		}
	}
}

// lostIn reads a promotion by failover, nil for every other record.
func lostIn(open *journal.Record) *promote.Promotion {
	if open == nil || open.Kind != journal.KindPromotion {
		return nil
	}
	p, err := promote.Load(open)
	if err != nil || !p.Lost {
		return nil
	}
	return p
}

// judgeOldPrimary finds the lost primary back, and open to writes.
func judgeOldPrimary(n *notebook, s *shardView, o *serverView, open *journal.Record) {
	if o.readOnly || o.shardRow == nil || o.shardRow.state != fence.Active || o.shardRow.serverID != o.id {
		return
	}
	n.add(Finding{Kind: OldPrimaryWritable, Severity: Danger, Shard: s.server.Shard, Move: open.Move, key: fmt.Sprint(o.server.Addr, o.shardRow.epoch),
		Says: fmt.Sprintf("%s, the primary that was given up, is back and takes writes with epoch %d; %s is the primary. What an application with an old map writes there parts from the shard.",
			o.server.Name(), o.shardRow.epoch, s.server.Name()),
		Cause:  "It was started without read_only in its configuration before anybody made it a replica.",
		Mend:   []string{"migrator move resume " + string(open.Move)},
		Decide: "The command makes it read-only first, and then a replica. Where it cannot be run at once, execute the statement.",
		SQL:    []SQL{{o.server.Name(), "SET GLOBAL read_only = 1"}}})
}

// judgeErrant finds transactions that another server of the shard has, and its
// primary has not.
func judgeErrant(n *notebook, s *shardView, o *serverView, lost *promote.Promotion) {
	errant := o.history.Errant(s.history)
	if len(errant) == 0 {
		return
	}
	texts := make([]string, len(errant))
	for i, g := range errant {
		texts[i] = g.String()
	}
	have := strings.Join(texts, ",")
	f := Finding{Kind: ReplicaErrant, Severity: Untidy, Shard: s.server.Shard, key: o.server.Addr + " " + have,
		Says: fmt.Sprintf("%s has transactions up to %s that the primary, %s, does not have: it is no copy of it, and can neither be promoted nor follow.",
			o.server.Name(), have, s.server.Name()),
		Cause: "Somebody wrote on the replica, or the primary was restored from an older backup.",
		Decide: "Look at the transactions (mysqlbinlog --base64-output=decode-rows -v on its newest binlogs), and write what must not be lost again, by hand, on the primary. " +
			"Then empty the server by the statements, drop every other database of the application there too, and make it a replica anew: " +
			fmt.Sprintf("migrator shard replicate %s --to %s.", s.server.Shard, o.server.Datacenter),
		SQL: []SQL{{o.server.Name(), "SET GLOBAL read_only = 1"}, {o.server.Name(), "STOP ALL SLAVES"}, {o.server.Name(), "RESET SLAVE ALL"},
			{o.server.Name(), "DROP DATABASE `" + strings.ReplaceAll(o.server.Database, "`", "``") + "`"}, {o.server.Name(), "RESET MASTER"},
			{o.server.Name(), "SET GLOBAL gtid_slave_pos = ''"}}}
	if lost != nil && o.server.Datacenter == lost.Source {
		f.Severity, f.Move = Danger, lost.Record.Move
		f.Cause = "They were committed there and not sent before the primary was given up: users may have been told that they succeeded. Or the server took writes when it came back."
		f.Decide = fmt.Sprintf("First end the promotion without it: migrator shard finish %s. ", s.server.Shard) + f.Decide
	}
	n.add(f)
}
