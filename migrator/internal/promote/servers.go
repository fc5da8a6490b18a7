package promote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// settings: both servers can be primary and replica of one another.
func (i *inspection) settings(ctx context.Context) error {
	for _, server := range []*database.Server{i.from, i.to} {
		for _, want := range []struct{ variable, value, why string }{
			{"log_bin", "1", "a primary needs a binlog"},
			{"log_slave_updates", "1", "what it applied as a replica must be in its own binlog"},
			{"binlog_format", "ROW", "statements give other values on another server, @@server_id for one"},
			{"slave_run_triggers_for_rbr", "NO", "the fence's triggers would refuse what is replicated"},
		} {
			v, err := server.Variable(ctx, want.variable)
			if err != nil {
				return err
			}
			if v != want.value {
				i.refuse(server, CheckSettings, fmt.Sprintf("set %s = %s in its configuration", want.variable, want.value),
					"%s is %s: %s", want.variable, v, want.why)
			}
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
	for n, server := range []*database.Server{i.from, i.to} {
		var name string
		err := server.DB.QueryRowContext(ctx, "SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_master_enabled'").Scan(&name, &on[n])
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	switch {
	case on[0] == "ON" && on[1] != "ON":
		i.warn(i.to, CheckSemiSync, "SET GLOBAL rpl_semi_sync_master_enabled = 1 after the promotion, and the same in both configurations",
			"the primary commits semi-synchronously, and this server would not")
	case on[1] == "ON":
		i.warn(i.to, CheckSemiSync, "SET GLOBAL rpl_semi_sync_master_wait_no_slave = 0, or a short rpl_semi_sync_master_timeout",
			"it commits semi-synchronously: until the old primary follows it, its commits may wait for rpl_semi_sync_master_timeout")
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

// needed are the global privileges that a promotion uses.
var needed = []string{"READ_ONLY ADMIN", "REPLICATION SLAVE ADMIN", "SLAVE MONITOR", "CONNECTION ADMIN", "PROCESS", "RELOAD"}

// privileges: the migrator's account can do all that a promotion does. A server
// older than these privileges has SUPER for them.
func (i *inspection) privileges(ctx context.Context) error {
	for _, server := range []*database.Server{i.from, i.to} {
		has, err := words(ctx, server, "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = "+
			"CONCAT('''', SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''@''', SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')")
		if err != nil {
			return err
		}
		var missing []string
		for _, privilege := range needed {
			if !slices.Contains(has, privilege) {
				missing = append(missing, privilege)
			}
		}
		if len(missing) != 0 {
			i.refuse(server, CheckPrivileges, fmt.Sprintf("GRANT %s ON *.* TO the migrator's account, directly, not by a role", strings.Join(missing, ", ")),
				"the migrator's account lacks %s", strings.Join(missing, ", "))
		}
	}
	// The proof, where it costs nothing: no row has this bucket.
	readOnly, err := i.to.ReadOnly(ctx)
	if err != nil || !readOnly {
		return err
	}
	tx, err := i.to.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // it has changed nothing
	if _, err := tx.ExecContext(ctx, "DELETE FROM "+fence.Table+" WHERE bucket = ?", fence.ShardRow-1); err != nil {
		i.refuse(i.to, CheckPrivileges, "GRANT READ_ONLY ADMIN ON *.* TO the migrator's account",
			"the migrator's account cannot write on a server that is read-only: %s", err)
	}
	return nil
}

// accounts: nobody writes on a server that is read-only. Accounts that could
// and are connected now refuse, for they might; administrators, who may grant,
// and accounts that are not connected warn. Privileges by a role are not seen.
func (i *inspection) accounts(ctx context.Context) error {
	privileged, err := privilegedAccounts(ctx, i.from)
	if err != nil {
		return err
	}
	connected, err := words(ctx, i.from, "SELECT DISTINCT USER FROM information_schema.PROCESSLIST WHERE COMMAND NOT LIKE 'Binlog Dump%'")
	if err != nil {
		return err
	}
	for _, account := range privileged {
		name := account.user
		if name == i.from.Account.User || name == i.Replication.User || name == "mariadb.sys" || name == "mysql.sys" {
			continue
		}
		const remedy = "REVOKE %s ON *.* FROM %s, or end its connections for the promotion"
		switch {
		case !slices.Contains(connected, name):
			i.warn(i.from, CheckAccounts, fmt.Sprintf(remedy, account.privilege, name),
				"%s has %s, so read_only would not stop it; it is not connected", name, account.privilege)
		case account.administrator:
			i.warn(i.from, CheckAccounts, "see that nobody writes by it until the promotion is done",
				"%s is connected and has %s, so read_only does not stop it", name, account.privilege)
		default:
			i.refuse(i.from, CheckAccounts, fmt.Sprintf(remedy, account.privilege, name),
				"%s is connected and has %s, so read_only does not stop its writes", name, account.privilege)
		}
	}
	return nil
}

// privileged is an account that read_only does not stop.
type privileged struct {
	user, privilege string
	administrator   bool // may grant it
}

// privilegedAccounts lists the accounts that read_only does not stop, each user
// name once. SUPER was enough until READ_ONLY ADMIN came to be.
func privilegedAccounts(ctx context.Context, server *database.Server) ([]privileged, error) {
	rows, err := server.DB.QueryContext(ctx, "SELECT GRANTEE, PRIVILEGE_TYPE, IS_GRANTABLE = 'YES' FROM information_schema.USER_PRIVILEGES "+
		"WHERE PRIVILEGE_TYPE IN ('READ_ONLY ADMIN', 'READ ONLY ADMIN', 'SUPER') ORDER BY GRANTEE, PRIVILEGE_TYPE")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	bySuper, err := superIsEnough(ctx, server)
	if err != nil {
		return nil, err
	}
	var all []privileged
	for rows.Next() {
		var grantee string
		var p privileged
		if err := rows.Scan(&grantee, &p.privilege, &p.administrator); err != nil {
			return nil, err
		}
		if p.privilege == "SUPER" && !bySuper {
			continue
		}
		p.user = strings.Trim(grantee[:max(0, strings.LastIndex(grantee, "@"))], "'")
		if !slices.ContainsFunc(all, func(o privileged) bool { return o.user == p.user }) {
			all = append(all, p)
		}
	}
	return all, rows.Err()
}

// superIsEnough says whether SUPER passes read_only on this server: before
// MariaDB 10.11.
func superIsEnough(ctx context.Context, server *database.Server) (bool, error) {
	v, err := server.Variable(ctx, "version")
	if err != nil {
		return false, err
	}
	var major, minor int
	if _, err := fmt.Sscanf(v, "%d.%d", &major, &minor); err != nil {
		return true, nil //nolint:nilerr // unknown: the safe answer
	}
	return major < 10 || major == 10 && minor < 11, nil
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
