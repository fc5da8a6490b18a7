package replicate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"drover/migrator/internal/database"
	"drover/migrator/internal/preflight"
)

// The names of the checks. They never change their meaning.
const (
	CheckReachable   = "replicate-reachable"
	CheckFamily      = "replicate-family"
	CheckEmpty       = "replicate-empty"
	CheckServers     = "replicate-servers"
	CheckSettings    = "replicate-settings"
	CheckTables      = "replicate-tables"
	CheckPrivileges  = "replicate-privileges"
	CheckReplication = "replicate-account"
	CheckAccounts    = "replicate-users"
	CheckEvents      = "replicate-events"
	CheckPrepared    = "replicate-prepared"
	CheckAdopt       = "replicate-adopt"
)

// inspection is one call of Preflight.
type inspection struct {
	*Engine
	from, to *database.Server
	mark     *mark
	adopt    bool
	results  []preflight.Result
}

func (i *inspection) enter(s *database.Server, name string, v preflight.Verdict, remedy, format string, args ...any) {
	i.results = append(i.results, preflight.Result{Name: name, Verdict: v, Shard: s.Shard, Server: s.Addr,
		Reason: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (i *inspection) refuse(s *database.Server, name, remedy, format string, args ...any) {
	i.enter(s, name, preflight.Error, remedy, format, args...)
}

func (i *inspection) warn(s *database.Server, name, remedy, format string, args ...any) {
	i.enter(s, name, preflight.Warning, remedy, format, args...)
}

// Preflight makes every check, and changes nothing. An error is one of the
// context.
func (e *Engine) Preflight(ctx context.Context) ([]preflight.Result, error) {
	i := &inspection{Engine: e}
	var err error
	if i.from, err = bare(e.From); err != nil {
		return nil, err
	}
	defer func() { _ = i.from.Close() }()
	if i.to, err = bare(e.To); err != nil {
		return nil, err
	}
	defer func() { _ = i.to.Close() }()
	up := true
	for _, s := range []*database.Server{i.from, i.to} {
		if err := s.DB.PingContext(ctx); err != nil {
			up = false
			i.refuse(s, CheckReachable, "start it, or put the shard list or the account right", "%s", err)
		}
	}
	if !up {
		return i.results, ctx.Err()
	}
	if err := e.family(ctx, i.from, i.to); err != nil {
		i.refuse(i.to, CheckFamily, "see docs/promotion.md, MySQL", "%s", err)
		return i.results, ctx.Err()
	}
	for _, check := range []struct {
		name   string
		server *database.Server
		do     func(context.Context) error
	}{
		{CheckEmpty, i.to, i.empty}, {CheckServers, i.to, i.servers}, {CheckSettings, i.from, i.settings},
		{CheckTables, i.from, i.tables}, {CheckPrivileges, i.to, i.privileges}, {CheckReplication, i.from, i.account},
		{CheckAccounts, i.to, i.accounts}, {CheckEvents, i.to, i.events}, {CheckPrepared, i.from, i.prepared}, {CheckAdopt, i.to, i.adopted},
	} {
		n := len(i.results)
		if err := check.do(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			i.refuse(check.server, check.name, "make it possible to check this", "it cannot be checked: %s", err)
		}
		if len(i.results) == n {
			i.enter(check.server, check.name, preflight.OK, "", "")
		}
	}
	return i.results, nil
}

// empty: the server is empty, or what it has was made here, or it replicates.
func (i *inspection) empty(ctx context.Context) (err error) {
	if i.mark, err = readMark(ctx, i.to.DB, i.to); err != nil {
		return err
	}
	upstreams, err := i.to.Upstreams(ctx)
	if err != nil {
		return err
	}
	i.adopt = i.mark == nil && len(upstreams) != 0
	if i.adopt {
		if i.Restart {
			i.refuse(i.to, CheckEmpty, "leave --restart out, and it is adopted", "it replicates, and was not made here")
		}
		return nil
	}
	if i.mark == nil || i.mark.State == Copying || i.Restart {
		found, err := foreign(ctx, i.to, i.mark)
		if err != nil {
			return err
		}
		if len(found) != 0 {
			i.refuse(i.to, CheckEmpty, "name another server in the shard list, or empty this one by hand",
				"it has data that was not made here: %s", strings.Join(found, ", "))
		}
	}
	followers, err := words(ctx, i.to.DB, "SELECT USER FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'")
	if err == nil && len(followers) != 0 {
		i.refuse(i.to, CheckEmpty, "end the replication from it", "%d server(s) replicate from it, and its binlog is begun anew", len(followers))
	}
	return err
}

// servers: two servers, of versions that go together.
func (i *inspection) servers(ctx context.Context) error {
	for _, name := range []string{"server_id", "version", "lower_case_table_names", "max_allowed_packet", "innodb_page_size"} {
		from, err := i.from.Variable(ctx, name)
		if err != nil {
			return err
		}
		to, err := i.to.Variable(ctx, name)
		if err != nil {
			return err
		}
		switch {
		case name == "server_id" && from == to:
			i.refuse(i.to, CheckServers, "give each server its own server_id, and see that the shard list names two servers", "both servers have server_id %s", from)
		case name == "version" && older(to, from):
			i.refuse(i.to, CheckServers, "install "+from+" or newer", "it is %s, older than the primary's %s", to, from)
		case name == "lower_case_table_names" && from != to:
			i.refuse(i.to, CheckServers, "set lower_case_table_names = "+from+" in its configuration, before it has data", "lower_case_table_names is %s, the primary's %s", to, from)
		case name == "max_allowed_packet" && number(to) < number(from):
			i.warn(i.to, CheckServers, "set max_allowed_packet = "+from, "max_allowed_packet is %s, the primary's %s: a large row may not come over", to, from)
		case name == "innodb_page_size" && number(to) < number(from):
			i.warn(i.to, CheckServers, "initialize it with innodb_page_size = "+from, "innodb_page_size is %s, the primary's %s: long rows may not fit", to, from)
		}
	}
	return nil
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64) // 0 for what is none
	return n
}

// older compares major and minor versions.
func older(a, b string) bool {
	var x, y [2]int
	_, err1 := fmt.Sscanf(a, "%d.%d", &x[0], &x[1])
	_, err2 := fmt.Sscanf(b, "%d.%d", &y[0], &y[1])
	return errors.Join(err1, err2) == nil && slices.Compare(x[:], y[:]) < 0
}

// settings: the primary's binlog has everything, and the replica's will.
func (i *inspection) settings(ctx context.Context) error {
	for _, s := range []*database.Server{i.from, i.to} {
		for _, want := range []struct{ variable, value, why string }{
			{"log_bin", "1", "a primary needs a binlog, and the replica is to be one"},
			{"log_slave_updates", "1", "what it applied as a replica must be in its own binlog"},
			{"binlog_format", "ROW", "statements give other values on another server"},
		} {
			v, err := s.Variable(ctx, want.variable)
			if err != nil {
				return err
			}
			if v != want.value && (s != i.from || want.variable != "log_slave_updates") {
				i.refuse(s, CheckSettings, fmt.Sprintf("set %s = %s in its configuration", want.variable, want.value), "%s is %s: %s", want.variable, v, want.why)
			}
		}
		status, err := lines(ctx, s.DB, database.MariaDB().Status)
		if err != nil {
			return err
		}
		if len(status) != 0 && status[0]["Binlog_Do_DB"]+status[0]["Binlog_Ignore_DB"] != "" {
			i.refuse(s, CheckSettings, "take binlog_do_db and binlog_ignore_db out of its configuration", "its binlog leaves databases out")
		}
	}
	const day = 86400
	if v, err := i.from.Variable(ctx, "binlog_expire_logs_seconds"); err == nil && number(v) != 0 && number(v) < day {
		i.warn(i.from, CheckSettings, "SET GLOBAL binlog_expire_logs_seconds = 86400, or more than the copy takes",
			"it keeps binlogs for %s s: a copy that takes longer is in vain", v)
	}
	return nil
}

// tables: all of them can be read in a snapshot and written as they are.
func (i *inspection) tables(ctx context.Context) error {
	system := "'" + strings.Join(systemSchemas, "','") + "'"
	odd, err := words(ctx, i.from.DB, "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME, ' (', COALESCE(ENGINE, 'no engine'), ')') FROM information_schema.TABLES "+
		"WHERE TABLE_TYPE = 'BASE TABLE' AND COALESCE(ENGINE, '') <> 'InnoDB' AND TABLE_SCHEMA NOT IN ("+system+")")
	if err != nil {
		return err
	}
	if len(odd) != 0 {
		i.refuse(i.from, CheckTables, "ALTER TABLE … ENGINE=InnoDB, or drop them", "these tables are in no snapshot: %s", few(odd))
	}
	versioned, err := words(ctx, i.from.DB, "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES "+
		"WHERE TABLE_TYPE = 'SYSTEM VERSIONED' AND TABLE_SCHEMA NOT IN ("+system+")")
	if err == nil && len(versioned) != 0 && !i.adopt {
		i.refuse(i.from, CheckTables, "restore a physical backup (mariabackup) on the replica, let it follow, and it is adopted",
			"these tables have a history, which no statement writes: %s", few(versioned))
	} else if len(versioned) != 0 {
		i.refuse(i.from, CheckTables, "compare them by hand", "these tables have a history, which is not compared: %s", few(versioned))
	}
	return err
}

// few are the first of many words.
func few(all []string) string {
	const most = 10
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}

// privileges: the migrator's account can do what is done.
func (i *inspection) privileges(ctx context.Context) error {
	for _, s := range []*database.Server{i.from, i.to} {
		needed := []string{"SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "PROCESS", "BINLOG MONITOR"}
		if s == i.to {
			needed = append(needed, "INSERT", "UPDATE", "CREATE", "DROP", "ALTER", "REFERENCES", "INDEX", "CREATE VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "RELOAD",
				"SET USER", "BINLOG ADMIN", "READ_ONLY ADMIN", "REPLICATION SLAVE ADMIN", "SLAVE MONITOR", "CONNECTION ADMIN", "REPLICATION MASTER ADMIN")
		}
		has, err := words(ctx, s.DB, "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = "+
			"CONCAT('''', SUBSTRING_INDEX(CURRENT_USER(), '@', 1), '''@''', SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')")
		if err != nil {
			return err
		}
		missing := slices.DeleteFunc(needed, func(p string) bool { return slices.Contains(has, p) })
		if len(missing) != 0 {
			i.refuse(s, CheckPrivileges, "GRANT "+strings.Join(missing, ", ")+" ON *.* TO the migrator's account, directly, not by a role", "the migrator's account lacks %s", strings.Join(missing, ", "))
		}
	}
	return nil
}

// events: none runs on the replica between being made and being disabled.
func (i *inspection) events(ctx context.Context) error {
	if i.adopt {
		return nil
	}
	v, err := i.to.Variable(ctx, "event_scheduler")
	if err != nil || v != "ON" {
		return err
	}
	n, err := words(ctx, i.from.DB, "SELECT EVENT_NAME FROM information_schema.EVENTS LIMIT 1")
	if len(n) != 0 {
		i.refuse(i.to, CheckEvents, "SET GLOBAL event_scheduler = OFF until it is promoted", "the primary has events, and this server would run them")
	}
	return err
}

// prepared: no transaction is between its two phases. Its first half would be
// before the copy, and its second after.
func (i *inspection) prepared(ctx context.Context) error {
	all, err := lines(ctx, i.from.DB, "XA RECOVER")
	if len(all) != 0 {
		i.refuse(i.from, CheckPrepared, "commit or roll them back: XA RECOVER lists them", "%d prepared XA transaction(s)", len(all))
	}
	return err
}
