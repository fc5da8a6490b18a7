package promote

import (
	"context"
	"fmt"
	"strings"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// Statement is one thing that a promotion would do.
type Statement struct {
	State  State  `json:"state"`
	Server string `json:"server"` // its name, or "map"
	Do     string `json:"do"`
}

// Statements lists what a promotion would do, in order, without the journal's
// entries. It changes nothing, and shows no password.
func (e *Engine) Statements(ctx context.Context, plan Plan) ([]Statement, error) {
	x, err := e.find(ctx, plan)
	if err != nil {
		return nil, err
	}
	id, err := x.to.ServerID(ctx)
	if err != nil {
		return nil, err
	}
	upstream, err := x.to.OneUpstream(ctx)
	if err != nil {
		return nil, err
	}
	host, port, err := x.to.HostPort()
	if err != nil {
		return nil, err
	}
	link := upstream.Link
	link.Host, link.Port = host, port
	follow, args := database.FollowStatement(link, database.Account{User: e.Replication.User, Password: "…"})
	for _, arg := range args {
		word := fmt.Sprint(arg)
		if s, ok := arg.(string); ok {
			word = "'" + strings.ReplaceAll(s, "'", "''") + "'"
		}
		follow = strings.Replace(follow, "?", word, 1)
	}
	row := func(set, from string) string {
		return fmt.Sprintf("UPDATE %s SET %s WHERE bucket = %d AND state = '%s' AND move_id = TOKEN", fence.Table, set, fence.ShardRow, from)
	}
	within := database.WithinMillis(int(e.Limits.FreezeLock.Milliseconds()))
	from, to := x.from.Name(), x.to.Name()
	connection := "'" + upstream.Connection + "'"
	return []Statement{
		{Replicating, from, within + strings.Replace(row("move_id = TOKEN", string(fence.Active)), "AND move_id = TOKEN", "AND move_id = ''", 1)},
		{CatchingUp, to, fmt.Sprintf("SELECT MASTER_GTID_WAIT(@@gtid_binlog_pos of the primary, %.3f), until it is in time", e.Limits.CatchUp.Seconds())},
		{Holding, "map", fmt.Sprintf("hold shard %s for %s at most; wait %s for the proxies' acknowledgements", plan.Shard, e.Limits.Hold.Until, e.Limits.Hold.Ack)},
		{Freezing, from, within + row("state = 'frozen'", string(fence.Active))},
		{Freezing, from, fmt.Sprintf("SET GLOBAL read_only = 1 (within %s)", e.Limits.ReadOnly)},
		{Freezing, to, "SELECT MASTER_GTID_WAIT(@@gtid_binlog_pos of the primary, …), within " + e.Limits.Freeze.String() + " since the freeze"},
		{Freezing, from, row("state = 'moved'", string(fence.Frozen)) + " (the commit point)"},
		{Switching, to, "SELECT MASTER_GTID_WAIT(@@gtid_binlog_pos of the old primary, …)"},
		{Switching, to, "STOP SLAVE " + connection},
		{Switching, to, "RESET SLAVE " + connection + " ALL"},
		{Switching, to, row(fmt.Sprintf("state = 'active', epoch = epoch + 1, server_id = %d", id), string(fence.Moved))},
		{Switching, to, "SET GLOBAL read_only = 0"},
		{Publishing, "map", fmt.Sprintf("shard %s lives in %s, epoch %d; end the hold", plan.Shard, plan.Target, x.shard.Epoch+1)},
		{Reversing, from, "SET GLOBAL gtid_slave_pos = its @@gtid_binlog_pos"},
		{Reversing, from, follow},
		{Reversing, from, "START SLAVE ''"},
		{Done, to, within + row("move_id = ''", string(fence.Active))},
	}, nil
}
