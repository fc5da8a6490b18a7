package replicate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover/migrator/internal/database"
)

// account: the replication account is there and may replicate.
func (i *inspection) account(ctx context.Context) error {
	if i.Replication.User == "" {
		if !i.adopt {
			i.refuse(i.from, CheckReplication, "set replication: {user: …, password: …} in the migrator's configuration", "no account is configured by which the replica would follow")
		}
		return nil
	}
	as, err := database.Open(i.from.Shard, i.from.Datacenter, i.from.Addr, "", i.Replication)
	if err != nil {
		return err
	}
	defer func() { _ = as.Close() }()
	grants, err := words(ctx, as.DB, "SHOW GRANTS")
	all := strings.Join(grants, "\n")
	if err != nil || !strings.Contains(all, "REPLICATION SLAVE") && !strings.Contains(all, "ALL PRIVILEGES ON *.*") {
		i.refuse(i.from, CheckReplication, fmt.Sprintf("CREATE USER %s …; GRANT REPLICATION SLAVE ON *.* TO it, for the replica's machine and this one", i.Replication.User),
			"the replication account cannot log in, or may not replicate: %v", err)
	}
	return nil
}

// accountsMax bounds the accounts whose grants are compared, two statements
// each.
const accountsMax = 500

// accounts: who may log in at the primary may at the replica. They are the
// operator's: nothing is made. What differs in passwords is not shown.
func (i *inspection) accounts(ctx context.Context) error {
	var listed [2][]string
	for n, s := range []*database.Server{i.from, i.to} {
		var err error
		if listed[n], err = words(ctx, s.DB, "SELECT CONCAT(QUOTE(User), '@', QUOTE(Host)) FROM mysql.user WHERE Host <> '' AND User NOT IN ('mariadb.sys', 'mysql.sys') ORDER BY 1"); err != nil {
			return err
		}
	}
	var missing, other []string
	for n, name := range listed[0] {
		if !slices.Contains(listed[1], name) {
			missing = append(missing, name)
			continue
		}
		if n >= accountsMax {
			continue
		}
		a, err := words(ctx, i.from.DB, "SHOW GRANTS FOR "+name)
		if err != nil {
			return err
		}
		b, err := words(ctx, i.to.DB, "SHOW GRANTS FOR "+name)
		if err != nil {
			return err
		}
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(a, b) {
			other = append(other, name)
		}
	}
	if len(missing) != 0 {
		i.warn(i.to, CheckAccounts, "make them with sql_log_bin = 0, before the promotion: mariadb-dump --system=users on the primary",
			"accounts of the primary are missing: %s; a replicated GRANT or ALTER USER of one stops the replica", few(missing))
	}
	if len(other) != 0 {
		i.warn(i.to, CheckAccounts, "compare SHOW GRANTS on both servers", "accounts have other passwords or privileges than on the primary: %s", few(other))
	}
	return nil
}

// lagMax is how long a replica that is adopted may take to apply what the
// primary has now.
const lagMax = 10 * time.Second

// adopted: a replica that is there follows this primary, whole, by GTID, alone
// and closely.
func (i *inspection) adopted(ctx context.Context) error {
	if !i.adopt {
		return nil
	}
	u, err := i.to.OneUpstream(ctx)
	if err != nil {
		i.refuse(i.to, CheckAdopt, "leave it one connection, to "+i.from.Addr, "%s", err)
		return nil
	}
	id, err := i.from.ServerID(ctx)
	if err != nil {
		return err
	}
	const command = "STOP SLAVE; CHANGE MASTER TO %s; START SLAVE"
	if u.ServerID != id {
		i.refuse(i.to, CheckAdopt, "name the right server in the shard list, or make it follow "+i.from.Addr,
			"it follows server_id %d at %s:%d; the primary has server_id %d", u.ServerID, u.Host, u.Port, id)
	}
	if !u.GTID {
		i.refuse(i.to, CheckAdopt, fmt.Sprintf(command, "MASTER_USE_GTID=slave_pos"), "it does not replicate by GTID")
	}
	if len(u.Filters) != 0 {
		i.refuse(i.to, CheckAdopt, "end the filters, and make the replica anew: what they left out is missing", "it replicates a part only: %s", strings.Join(u.Filters, ", "))
	}
	if u.DelaySeconds != 0 {
		i.refuse(i.to, CheckAdopt, fmt.Sprintf(command, "MASTER_DELAY=0"), "it is delayed by %d s on purpose", u.DelaySeconds)
	}
	readOnly, err := i.to.ReadOnly(ctx)
	if err != nil {
		return err
	}
	if !readOnly {
		i.refuse(i.to, CheckAdopt, "SET GLOBAL read_only = 1, and the same in its configuration", "the replica takes writes of everybody")
	}
	replica, err := i.to.BinlogHistory(ctx) // first: the primary's grows
	if err != nil {
		return err
	}
	primary, err := i.from.BinlogHistory(ctx)
	if err != nil {
		return err
	}
	if errant := replica.Errant(primary); len(errant) != 0 {
		i.refuse(i.to, CheckAdopt, "make it anew; mysqlbinlog shows what it wrote by itself", "it has transactions that the primary does not have: %v and perhaps earlier ones", errant)
	}
	if failure := u.Failure(); failure != "" {
		i.refuse(i.to, CheckAdopt, "put right what stopped it, then START SLAVE; see SHOW ALL SLAVES STATUS", "%s", failure)
		return nil
	}
	return i.near(ctx)
}

// near: the replica has applied what the primary has, within lagMax.
func (i *inspection) near(ctx context.Context) error {
	end, err := i.from.BinlogPosition(ctx)
	if err != nil {
		return err
	}
	if applied, err := i.to.WaitApplied(ctx, end, lagMax); err != nil || applied {
		return err
	}
	have, err := i.to.ReplicaPosition(ctx)
	if err != nil {
		return err
	}
	i.refuse(i.to, CheckAdopt, "wait until it has caught up; see Seconds_Behind_Master in SHOW ALL SLAVES STATUS",
		"it has not applied within %s what the primary had: it is %d transactions behind", lagMax, have.Lag(end))
	return nil
}
