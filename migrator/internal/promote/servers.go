package promote

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// settings: both servers can be primary and replica of one another.
func (i *inspection) settings(ctx context.Context) error {
	for _, server := range []*database.Server{i.from, i.to} {
		for _, want := range wantedSettings(i.dialect) {
			name, v, err := firstVariable(ctx, server, want.names...)
			if err != nil {
				return err
			}
			if v != want.value {
				name = cmp.Or(name, want.names[0])
				i.refuse(server, CheckSettings, fmt.Sprintf("set %s = %s in its configuration", name, want.value),
					"%s is %s: %s", name, v, want.why)
			}
		}
		if i.dialect.MySQL() {
			continue // it has no gtid_strict_mode: its GTIDs are in no order
		}
		v, err := server.Variable(ctx, "gtid_strict_mode")
		if err != nil {
			return err
		}
		if v != "1" {
			i.warn(server, CheckSettings, "SET GLOBAL gtid_strict_mode = 1, and the same in its configuration",
				"gtid_strict_mode is off: a transaction out of order would not be noticed")
		}
	}
	return nil
}

// setting is a variable, by any of its names, and the value that it must have.
type setting struct {
	names      []string
	value, why string
}

func wantedSettings(d database.Dialect) []setting {
	all := []setting{
		{[]string{"log_bin"}, "ON", "a primary needs a binlog"},
		{[]string{"log_replica_updates", "log_slave_updates"}, "ON", "what it applied as a replica must be in its own binlog"},
		{[]string{"binlog_format"}, "ROW", "statements give other values on another server, @@server_id for one"},
	}
	if d.MySQL() { // which runs no triggers for what is replicated in rows
		return append(all,
			setting{[]string{"gtid_mode"}, "ON", "it is followed by GTID"},
			setting{[]string{"enforce_gtid_consistency"}, "ON", "a statement that GTIDs cannot name would stop replication"},
			setting{[]string{"replica_preserve_commit_order", "slave_preserve_commit_order"}, "ON", "a replica that commits in another order shows what never was"})
	}
	return append(all, setting{[]string{"slave_run_triggers_for_rbr"}, "NO", "the fence's triggers would refuse what is replicated"})
}

// durable: a crash of the machine does not take the commit point back.
func (i *inspection) durable(ctx context.Context) error {
	for _, server := range []*database.Server{i.from, i.to} {
		for _, variable := range []string{"sync_binlog", "innodb_flush_log_at_trx_commit"} {
			v, err := server.Variable(ctx, variable)
			if err != nil {
				return err
			}
			if v != "1" {
				i.warn(server, CheckDurable, fmt.Sprintf("SET GLOBAL %s = 1, and the same in its configuration", variable),
					"%s is %s: if the machine loses power, the newest commits are lost, and with them a promotion's", variable, v)
			}
		}
	}
	return nil
}

// semiSync: the new primary waits for replicas as the old one does.
func (i *inspection) semiSync(ctx context.Context) error {
	var on [2]string
	prefix := "rpl_semi_sync_master" // of the new primary's plugin, where it has one
	for n, server := range []*database.Server{i.from, i.to} {
		name, value, err := firstVariable(ctx, server, semiSyncPrimary...)
		if err != nil {
			return err
		}
		if on[n] = value; name != "" {
			prefix = strings.TrimSuffix(name, "_enabled")
		}
	}
	noReplica := prefix + "_wait_no_slave"
	if strings.HasSuffix(prefix, "source") {
		noReplica = prefix + "_wait_no_replica"
	}
	switch {
	case on[0] == "ON" && on[1] != "ON":
		i.warn(i.to, CheckSemiSync, "SET GLOBAL "+prefix+"_enabled = 1 after the promotion, and the same in both configurations",
			"the primary commits semi-synchronously, and this server would not")
	case on[1] == "ON":
		i.warn(i.to, CheckSemiSync, "SET GLOBAL "+noReplica+" = 0, or a short "+prefix+"_timeout",
			"it commits semi-synchronously: until the old primary follows it, its commits may wait for %s_timeout", prefix)
	}
	return nil
}

// events: the server writes nothing by itself. An event runs as its definer,
// who is often root and not stopped by read_only; and on the new primary it
// stays disabled.
func (i *inspection) events(ctx context.Context) error {
	scheduler, err := i.from.Variable(ctx, "event_scheduler")
	if err != nil || scheduler != "ON" {
		return err
	}
	names, err := words(ctx, i.from, "SELECT CONCAT(EVENT_SCHEMA, '.', EVENT_NAME) FROM information_schema.EVENTS WHERE STATUS = 'ENABLED'")
	if err != nil {
		return err
	}
	if len(names) != 0 {
		i.refuse(i.from, CheckEvents, "SET GLOBAL event_scheduler = OFF for the promotion; after it, ALTER EVENT … ENABLE on the new primary",
			"scheduled events can write in spite of read_only: %s", strings.Join(names, ", "))
	}
	return nil
}

// needed are the global privileges that a promotion uses: to write past
// read_only and to set it, to steer a replica and to see it, to see connections
// and to end them.
func needed(d database.Dialect) []string {
	if d.MySQL() {
		return []string{"CONNECTION_ADMIN", "SYSTEM_VARIABLES_ADMIN", "REPLICATION_SLAVE_ADMIN", "REPLICATION CLIENT", "PROCESS", "RELOAD"}
	}
	return []string{"READ_ONLY ADMIN", "REPLICATION SLAVE ADMIN", "SLAVE MONITOR", "CONNECTION ADMIN", "PROCESS", "RELOAD"}
}

// privileges: the migrator's account can do all that a promotion does. A server
// older than these privileges has SUPER for them.
func (i *inspection) privileges(ctx context.Context) error {
	for _, server := range []*database.Server{i.from, i.to} {
		if err := i.privilegesOn(ctx, server); err != nil {
			return err
		}
	}
	return i.proof(ctx)
}

func (i *inspection) privilegesOn(ctx context.Context, server *database.Server) error {
	has, err := words(ctx, server, "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = "+
		"CONCAT('''', SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''@''', SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')")
	if err != nil {
		return err
	}
	var missing []string
	for _, privilege := range needed(i.dialect) {
		if !slices.Contains(has, privilege) {
			missing = append(missing, privilege)
		}
	}
	if len(missing) != 0 {
		i.refuse(server, CheckPrivileges, fmt.Sprintf("GRANT %s ON *.* TO the migrator's account, directly, not by a role", strings.Join(missing, ", ")),
			"the migrator's account lacks %s", strings.Join(missing, ", "))
	}
	return nil
}

// proof tries it, where it costs nothing: no row has this bucket.
func (i *inspection) proof(ctx context.Context) error {
	readOnly, err := i.to.ReadOnly(ctx)
	if err != nil || !readOnly {
		return err
	}
	if strict, err := isStrict(ctx, i.to, i.dialect); err != nil || strict {
		return err // it stops everybody now, and will not when it matters
	}
	tx, err := i.to.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // it has changed nothing
	if _, err := tx.ExecContext(ctx, "DELETE FROM "+fence.Table+" WHERE bucket = ?", fence.ShardRow-1); err != nil {
		i.refuse(i.to, CheckPrivileges, "GRANT "+needed(i.dialect)[0]+" ON *.* TO the migrator's account",
			"the migrator's account cannot write on a server that is read-only: %s", err)
	}
	return nil
}

// follower: the account of the replication is there, and can replicate from the
// new primary.
func (i *inspection) follower(ctx context.Context) error {
	if i.Replication.User == "" {
		i.refuse(i.to, CheckFollower, "set replication: {user: …, password: …} in the migrator's configuration",
			"the configuration names no account by which the old primary would follow the new one")
		return nil
	}
	as, err := database.Open(i.shard.Name, i.to.Datacenter, i.to.Addr, "", i.Replication)
	if err != nil {
		return err
	}
	defer func() { _ = as.Close() }()
	grants, err := words(ctx, as, "SHOW GRANTS")
	if err != nil {
		i.refuse(i.to, CheckFollower, fmt.Sprintf("CREATE USER %s …; GRANT REPLICATION SLAVE ON *.* TO it, on the primary, for this machine too", i.Replication.User),
			"the replication account cannot log in: %s", err)
		return nil
	}
	all := strings.Join(grants, "\n")
	if !strings.Contains(all, "REPLICATION SLAVE") && !strings.Contains(all, "ALL PRIVILEGES ON *.*") {
		i.refuse(i.to, CheckFollower, fmt.Sprintf("GRANT REPLICATION SLAVE ON *.* TO %s, on the primary", i.Replication.User),
			"the replication account may not replicate")
	}
	return nil
}

// words returns the only column of a query.
func words(ctx context.Context, server *database.Server, query string) ([]string, error) {
	rows, err := server.DB.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var w string
		if err := rows.Scan(&w); err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, rows.Err()
}
