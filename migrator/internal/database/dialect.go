package database

import "strings"

// Dialect is what differs between the two families of servers where their
// binlogs are read. The programs run on MariaDB; MySQL is not tested here, and
// the preflight refuses it.
type Dialect struct {
	// Flavor is the family's name in go-mysql.
	Flavor string
	// Position is the variable with the end of the binlog: a list of
	// domain-server-sequence on MariaDB, a set of uuid:intervals on MySQL, which
	// ParsePosition does not read.
	Position string
	// Applied is the variable with everything the server has, written or
	// applied.
	Applied string
	// Status is the statement that shows the binlog's end and filters.
	Status string
	// Snapshot are the statements that open a consistent snapshot and then say
	// at which file and offset of the binlog it is. Where they are none, a
	// snapshot's position is not known without a lock on the whole server.
	Snapshot []string
	// SnapshotPosition turns a file and an offset into a position. It is empty
	// where Snapshot is.
	SnapshotPosition string
}

// MariaDB is the dialect of the servers that the programs run on.
func MariaDB() Dialect {
	return Dialect{
		Flavor: "mariadb", Position: "gtid_binlog_pos", Applied: "gtid_current_pos", Status: "SHOW MASTER STATUS",
		Snapshot:         []string{"START TRANSACTION WITH CONSISTENT SNAPSHOT", "SHOW STATUS LIKE 'binlog_snapshot_%'"},
		SnapshotPosition: "SELECT BINLOG_GTID_POS(?, ?)",
	}
}

// MySQL is that of MySQL 8.4. It is not tested here.
func MySQL() Dialect {
	return Dialect{Flavor: "mysql", Position: "gtid_executed", Applied: "gtid_executed", Status: "SHOW BINARY LOG STATUS"}
}

// DialectOf chooses the dialect by a server's @@version. tested is false for
// the one that is not tested here.
func DialectOf(version string) (d Dialect, tested bool) {
	if strings.Contains(strings.ToLower(version), "mariadb") {
		return MariaDB(), true
	}
	return MySQL(), false
}
