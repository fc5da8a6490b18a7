package preflight

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"drover/migrator/internal/database"
)

// The checks of a server's settings.
const (
	ServerVersion    = "server-version"
	BinlogEnabled    = "binlog-enabled"
	BinlogFormat     = "binlog-format"
	BinlogRowImage   = "binlog-row-image"
	BinlogFilter     = "binlog-filter"
	BinlogRetention  = "binlog-retention"
	GTIDStrictMode   = "gtid-strict-mode"
	ServerID         = "server-id"
	DurableCommits   = "durable-commits"
	MaxAllowedPacket = "max-allowed-packet"
	ReadOnly         = "read-only"
	NotReplica       = "not-a-replica"
)

const (
	// versionMin is the oldest MariaDB that has what is relied on: bounded
	// statements, and the privileges by their names of today.
	versionMinMajor, versionMinMinor = 10, 5
	// packetMin is MariaDB's default, by which the migrator's statements are
	// bounded.
	packetMin = 16 << 20
	// retentionMin is how long changes must wait for a tail that has stopped: a
	// night, and the time to notice.
	retentionMin = 24 * time.Hour
)

var versionNumber = regexp.MustCompile(`^(\d+)\.(\d+)`)

// versionOf says what is wrong with a version.
func versionOf(version string) []finding {
	if _, tested := database.DialectOf(version); !tested {
		return []finding{refuse("use MariaDB 10.5 or newer", "%q is not MariaDB: MySQL is not supported yet", version)}
	}
	m := versionNumber.FindStringSubmatch(version)
	if m == nil {
		return []finding{refuse("use MariaDB 10.5 or newer", "the version %q cannot be read", version)}
	}
	major, _ := strconv.Atoi(m[1]) // digits
	minor, _ := strconv.Atoi(m[2])
	if major < versionMinMajor || major == versionMinMajor && minor < versionMinMinor {
		return []finding{refuse("upgrade to MariaDB 10.5 or newer", "%s is older than MariaDB %d.%d", version, versionMinMajor, versionMinMinor)}
	}
	return nil
}

// judgeSettings checks the variables.
func judgeSettings(f *findings, s *facts) {
	want := func(name, variable, value, remedy string, otherwise func(string, string, ...any) finding) {
		if have := s.variables[variable]; !strings.EqualFold(have, value) {
			f.check(s.server, name, otherwise(remedy, "%s is %s, want %s", variable, have, value))
			return
		}
		f.check(s.server, name)
	}
	want(BinlogEnabled, "log_bin", "ON", "set log_bin in the server's configuration and restart it", refuse)
	want(BinlogFormat, "binlog_format", "ROW", "SET GLOBAL binlog_format = 'ROW', set it in the configuration, and reconnect the application", refuse)
	want(BinlogRowImage, "binlog_row_image", "FULL", "SET GLOBAL binlog_row_image = 'FULL', set it in the configuration, and reconnect the application", refuse)
	want(GTIDStrictMode, "gtid_strict_mode", "ON", "SET GLOBAL gtid_strict_mode = ON: a promotion finds positions by GTID", warn)
	want(ReadOnly, "read_only", "OFF", "SET GLOBAL read_only = OFF if this is the primary; else put the map right", refuse)

	if id, ok := s.number("server_id"); !ok || id == 0 {
		f.check(s.server, ServerID, refuse("give every server a server_id of its own", "server_id is %s", s.variables["server_id"]))
	}
	f.check(s.server, DurableCommits, durable(s)...)
	f.check(s.server, MaxAllowedPacket, packet(s)...)
	f.check(s.server, BinlogRetention, retention(s)...)
	f.check(s.server, BinlogFilter, filters(s)...)
	f.check(s.server, NotReplica, replica(s)...)
}

// judgeServerIDs checks that no two servers have the same id: the row of a
// shard names its primary by it.
func judgeServerIDs(f *findings, all []*facts) {
	owner := map[string]*facts{}
	for _, s := range all {
		if !s.read {
			continue
		}
		id := s.variables["server_id"]
		if other, taken := owner[id]; taken {
			f.check(s.server, ServerID, refuse("give every server a server_id of its own",
				"server_id %s is that of %s too", id, other.server.Name()))
			continue
		}
		owner[id] = s
		if id != "0" && id != "" {
			f.check(s.server, ServerID)
		}
	}
}

func durable(s *facts) []finding {
	var found []finding
	for _, variable := range []string{"sync_binlog", "innodb_flush_log_at_trx_commit"} {
		if have := s.variables[variable]; have != "1" {
			found = append(found, warn(fmt.Sprintf("SET GLOBAL %s = 1, and set it in the configuration", variable),
				"%s is %s: commits of the last moments are lost when the machine loses power, the fence's among them", variable, have))
		}
	}
	return found
}

func packet(s *facts) []finding {
	have, ok := s.number("max_allowed_packet")
	if ok && have >= packetMin {
		return nil
	}
	return []finding{refuse(fmt.Sprintf("SET GLOBAL max_allowed_packet = %d or more, and at least as much as at the other end", packetMin),
		"max_allowed_packet is %s, want %d or more", s.variables["max_allowed_packet"], packetMin)}
}

// retention looks at what deletes binlogs. Both variables say the same on a
// server that has both; 0 keeps them.
func retention(s *facts) []finding {
	var found []finding
	kept := time.Duration(0)
	if seconds, ok := s.number("binlog_expire_logs_seconds"); ok && seconds != 0 {
		kept = time.Duration(seconds * float64(time.Second))
	} else if days, ok := s.number("expire_logs_days"); ok && days != 0 {
		kept = time.Duration(days * 24 * float64(time.Hour))
	}
	if kept != 0 && kept < retentionMin {
		found = append(found, warn("SET GLOBAL binlog_expire_logs_seconds = 604800 (expire_logs_days = 7 before MariaDB 10.6), and see that the disk has room",
			"binlogs are kept for %s: a tail that stops for longer cannot go on", kept))
	}
	if size, ok := s.number("max_binlog_total_size"); ok && size != 0 {
		found = append(found, warn("SET GLOBAL max_binlog_total_size = 0, or see that it holds a day of changes",
			"binlogs are deleted past %.0f bytes: a tail that stops meanwhile cannot go on", size))
	}
	return found
}

// filters looks for a binlog that leaves the database out.
func filters(s *facts) []finding {
	const remedy = "take binlog_do_db and binlog_ignore_db out of the server's configuration and restart it"
	if s.filters.err != nil {
		return []finding{unknown(Error, "BINLOG MONITOR", s.filters.err)}
	}
	in := func(column string) (listed, any bool) {
		for _, list := range s.filters.column(column) {
			for _, name := range strings.Split(list, ",") {
				any = any || name != ""
				listed = listed || name == s.server.Database
			}
		}
		return listed, any
	}
	if listed, _ := in("Binlog_Ignore_DB"); listed {
		return []finding{refuse(remedy, "binlog_ignore_db leaves %s out of the binlog", s.server.Database)}
	}
	if listed, any := in("Binlog_Do_DB"); any && !listed {
		return []finding{refuse(remedy, "binlog_do_db leaves %s out of the binlog", s.server.Database)}
	}
	return nil
}

// replica refuses a primary that applies another server's changes: they pass
// the fence.
func replica(s *facts) []finding {
	if s.replicates.err != nil {
		return []finding{unknown(Error, "REPLICA MONITOR (SLAVE MONITOR)", s.replicates.err)}
	}
	hosts := s.replicates.column("Master_Host")
	if len(hosts) == 0 {
		return nil
	}
	for i, running := range s.replicates.column("Slave_SQL_Running") {
		if running != "No" {
			return []finding{refuse("STOP SLAVE and RESET SLAVE ALL if this is the primary; else put the map right",
				"it replicates from %s: what comes from there is not fenced", hosts[i])}
		}
	}
	return []finding{warn("RESET SLAVE ALL", "it is set up to replicate from %s, though it is stopped", hosts[0])}
}
