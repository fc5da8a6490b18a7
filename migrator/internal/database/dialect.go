package database

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Dialect is what differs between the two families of servers where binlogs are
// read, replicas are steered and servers are made read-only.
//
// The programs run on MariaDB. What is said of MySQL is from its manual, 8.0 and
// 8.4: only tests that are built with the tag mysql execute it, on a newer server,
// and the programs refuse such servers unless they are told otherwise.
//
// The zero value does what MariaDB does, and has no statements.
type Dialect struct {
	// Flavor is the family's name in go-mysql.
	Flavor string
	// Version is the server's, 0.0.0 where it cannot be read.
	Version Release
	// Position is the variable with the end of the binlog: a list of
	// domain-server-sequence on MariaDB, a set of uuid:intervals on MySQL, which
	// ParsePosition does not read and ParseTransactions does.
	Position string
	// Applied is the variable with everything the server has, written or
	// applied.
	Applied string
	// Replicated is the variable with what the server has applied as a replica.
	// On MySQL it is everything the server has: there transactions are told apart
	// by who wrote them first, so its own cannot pass for its primary's.
	Replicated string
	// Status is the statement that shows the binlog's end and filters.
	Status string
	// Upstreams is the statement that shows the primaries that a server follows.
	Upstreams string
	// Stop, Start and Forget take the name of the connection, or channel; "" is
	// the default one.
	Stop, Start, Forget string
	// Await waits for a position, at most for so many seconds, and gives 0 when
	// the server has it.
	Await string
	// SetReplicated says from where the server asks its next primary. It is empty
	// on MySQL, where that follows from what the server has.
	SetReplicated string
	// Strict is the statement that makes a replica read-only for everybody, its
	// own migrator too, and Lenient the one that takes that back and leaves the
	// server read-only. MariaDB has no such thing, and both are empty there.
	Strict, Lenient string
	// Snapshot are the statements that open a consistent snapshot and then say
	// at which file and offset of the binlog it is. Where they are none, a
	// snapshot's position is not known without a lock on the whole server.
	Snapshot []string
	// SnapshotPosition turns a file and an offset into a position. It is empty
	// where Snapshot is.
	SnapshotPosition string
}

// Release is a version: major, minor, patch.
type Release [3]int

func (r Release) String() string { return fmt.Sprintf("%d.%d.%d", r[0], r[1], r[2]) }

// Before says whether r is older than o.
func (r Release) Before(o Release) bool { return slices.Compare(r[:], o[:]) < 0 }

// MySQLFirst is the oldest MySQL that has the statements of this file: CHANGE
// REPLICATION SOURCE TO came with it, SHOW REPLICA STATUS one release before.
var MySQLFirst = Release{8, 0, 23}

// mysqlBinlogStatus is the first MySQL with SHOW BINARY LOG STATUS; 8.4 has SHOW
// MASTER STATUS no more.
var mysqlBinlogStatus = Release{8, 2, 0}

const (
	flavorMariaDB = "mariadb"
	flavorMySQL   = "mysql"
)

// MariaDB is the dialect of the servers that the programs run on.
func MariaDB() Dialect {
	return Dialect{
		Flavor: flavorMariaDB, Position: "gtid_binlog_pos", Applied: "gtid_current_pos", Replicated: "gtid_slave_pos",
		Status: "SHOW MASTER STATUS", Upstreams: "SHOW ALL SLAVES STATUS",
		Stop: "STOP SLAVE ?", Start: "START SLAVE ?", Forget: "RESET SLAVE ? ALL",
		Await: "SELECT MASTER_GTID_WAIT(?, ?)", SetReplicated: "SET GLOBAL gtid_slave_pos = ?",
		Snapshot:         []string{"START TRANSACTION WITH CONSISTENT SNAPSHOT", "SHOW STATUS LIKE 'binlog_snapshot_%'"},
		SnapshotPosition: "SELECT BINLOG_GTID_POS(?, ?)",
	}
}

func mysqlOf(v Release) Dialect {
	d := Dialect{
		Flavor: flavorMySQL, Version: v, Position: "gtid_executed", Applied: "gtid_executed", Replicated: "gtid_executed",
		Status: "SHOW BINARY LOG STATUS", Upstreams: "SHOW REPLICA STATUS",
		Stop: "STOP REPLICA FOR CHANNEL ?", Start: "START REPLICA FOR CHANNEL ?", Forget: "RESET REPLICA ALL FOR CHANNEL ?",
		Await:  "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)",
		Strict: "SET GLOBAL super_read_only = 1", Lenient: "SET GLOBAL super_read_only = 0",
	}
	if v.Before(mysqlBinlogStatus) {
		d.Status = "SHOW MASTER STATUS"
	}
	return d
}

// DialectOf chooses the dialect by a server's @@version. tested is false for
// the one that is not tested continuously.
func DialectOf(version string) (d Dialect, tested bool) {
	var v Release
	_, _ = fmt.Sscanf(version, "%d.%d.%d", &v[0], &v[1], &v[2]) // what is not there stays 0
	if strings.Contains(strings.ToLower(version), "mariadb") {
		d = MariaDB()
		d.Version = v
		return d, true
	}
	return mysqlOf(v), false
}

// MySQL says whether it is MySQL's.
func (d Dialect) MySQL() bool { return d.Flavor == flavorMySQL }

// Family is the name for people.
func (d Dialect) Family() string {
	if d.MySQL() {
		return "MySQL"
	}
	return "MariaDB"
}

// Dialect returns the server's dialect, which is read once.
func (s *Server) Dialect(ctx context.Context) (Dialect, error) {
	if d := s.dialect.Load(); d != nil {
		return *d, nil
	}
	version, err := s.Variable(ctx, "version")
	if err != nil {
		return Dialect{}, err
	}
	d, _ := DialectOf(version)
	s.dialect.Store(&d)
	return d, nil
}

// SessionBounds is the statement by which a session waits for locks only so
// many seconds, and for a statement so long, 0 for no bound.
//
// MySQL bounds no statement but SELECT: there EndAfter does.
func (d Dialect) SessionBounds(lockSeconds int, statementSeconds float64) string {
	text := fmt.Sprintf("SET SESSION lock_wait_timeout = %d, innodb_lock_wait_timeout = %d", lockSeconds, lockSeconds)
	if statementSeconds != 0 && !d.MySQL() {
		text += fmt.Sprintf(", max_statement_time = %.3f", statementSeconds)
	}
	return text
}

// FollowStatement makes a server follow an upstream by GTID, on the default
// connection. Without TLS a MySQL replica asks the upstream for its public key,
// for an account of caching_sha2_password sends its password no other way.
func (d Dialect) FollowStatement(link Link, account Account) (statement string, args []any) {
	yes := map[bool]string{true: "1", false: "0"}
	args = []any{link.Host, int(link.Port), account.User, account.Password, max(1, link.RetrySeconds)}
	if d.MySQL() {
		return "CHANGE REPLICATION SOURCE TO SOURCE_HOST=?, SOURCE_PORT=?, SOURCE_USER=?, SOURCE_PASSWORD=?, SOURCE_CONNECT_RETRY=?, " +
			"SOURCE_SSL=" + yes[link.TLS] + ", SOURCE_SSL_VERIFY_SERVER_CERT=" + yes[link.TLSVerify] +
			", GET_SOURCE_PUBLIC_KEY=" + yes[!link.TLS] + ", SOURCE_AUTO_POSITION=1 FOR CHANNEL ''", args
	}
	return "CHANGE MASTER TO MASTER_HOST=?, MASTER_PORT=?, MASTER_USER=?, MASTER_PASSWORD=?, MASTER_CONNECT_RETRY=?, " +
		"MASTER_SSL=" + yes[link.TLS] + ", MASTER_SSL_VERIFY_SERVER_CERT=" + yes[link.TLSVerify] + ", MASTER_USE_GTID=slave_pos", args
}
