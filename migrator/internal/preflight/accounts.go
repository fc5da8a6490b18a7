package preflight

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The checks of accounts, and of what goes on.
const (
	Privileges         = "privileges"
	AnonymousAccounts  = "anonymous-accounts"
	PrivilegedAccounts = "privileged-accounts"
	XATransactions     = "xa-transactions"
	LongTransactions   = "long-transactions"
)

// What the migrator's account must be allowed, everywhere and in the database.
// Promotions need more, and check it themselves.
var (
	globalPrivileges = []string{"REPLICATION SLAVE", "BINLOG MONITOR", "PROCESS"}
	schemaPrivileges = []string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "TRIGGER"}
)

// formerly are the names that SHOW GRANTS has used for a privilege.
var formerly = map[string][]string{
	"REPLICATION SLAVE": {"REPLICATION REPLICA"},
	"BINLOG MONITOR":    {"REPLICATION CLIENT"},
}

// accountsOfServer come with MariaDB, and nobody logs in by them over the
// network.
var accountsOfServer = []string{"'root'@'localhost'", "'mariadb.sys'@'localhost'", "'mysql'@'localhost'"}

func (p *Preflight) judgeAccounts(f *findings, s *facts) {
	f.check(s.server, Privileges, privileges(s)...)

	var found []finding
	switch {
	case s.anonymous.err != nil:
		found = append(found, unknown(Warning, "SELECT on mysql.global_priv", s.anonymous.err))
	case len(s.anonymous.rows) != 0:
		found = append(found, refuse("drop them: DROP USER ''@'host'",
			"there are accounts without a name, at %s: by them anybody can claim a name that passes the fence",
			strings.Join(s.anonymous.column("Host"), ", ")))
	}
	f.check(s.server, AnonymousAccounts, found...)

	found = nil
	if s.privileged.err != nil {
		found = append(found, unknown(Warning, "SELECT on mysql.*", s.privileged.err))
	}
	var others []string
	for _, account := range s.privileged.column("GRANTEE") {
		if slices.Contains(accountsOfServer, account) || strings.HasPrefix(account, "'"+p.Account+"'@") {
			continue
		}
		others = append(others, account)
	}
	if len(others) != 0 {
		found = append(found, warn("see that no application uses them, and take SUPER and READ_ONLY ADMIN from those that do not need them",
			"%s can write where read_only is set", strings.Join(others, ", ")))
	}
	f.check(s.server, PrivilegedAccounts, found...)
}

var grantLine = regexp.MustCompile("^GRANT (.+?) ON (?:\\*\\.\\*|[`\"](.+?)[`\"]\\.\\*|(\\S+)) TO ")

// privileges reads SHOW GRANTS. Grants on single tables do not count: Drover's
// own tables would need one each.
func privileges(s *facts) []finding {
	if s.grants.err != nil {
		return []finding{unknown(Error, "", s.grants.err)}
	}
	global, schema := map[string]bool{}, map[string]bool{}
	for _, row := range s.grants.rows {
		m := grantLine.FindStringSubmatch(row[0])
		if m == nil || m[3] != "" {
			continue // a role, a proxy, a table
		}
		into := schema
		switch {
		case m[2] == "":
			into = global
		case !matchesPattern(m[2], s.server.Database):
			continue
		}
		for _, word := range strings.Split(m[1], ",") {
			into[strings.ToUpper(strings.TrimSpace(word))] = true
		}
	}
	has := func(grants map[string]bool, privilege string) bool {
		return grants["ALL PRIVILEGES"] || grants[privilege] ||
			slices.ContainsFunc(formerly[privilege], func(name string) bool { return grants[name] })
	}
	var found []finding
	missing := func(scope string, wanted []string, held func(string) bool) {
		var lacks []string
		for _, privilege := range wanted {
			if !held(privilege) {
				lacks = append(lacks, privilege)
			}
		}
		if len(lacks) != 0 {
			list := strings.Join(lacks, ", ")
			found = append(found, refuse(fmt.Sprintf("GRANT %s ON %s TO the account", list, scope), "%s has no %s on %s", s.user, list, scope))
		}
	}
	missing("*.*", globalPrivileges, func(w string) bool { return has(global, w) })
	missing("`"+s.server.Database+"`.*", schemaPrivileges, func(w string) bool { return has(global, w) || has(schema, w) })
	return found
}

// matchesPattern says whether the database of a grant, in which _ and % stand
// for others unless escaped, is this one.
func matchesPattern(pattern, name string) bool {
	var expr strings.Builder
	expr.WriteString("(?s)^")
	escaped := false
	for _, r := range pattern {
		switch {
		case escaped || r != '\\' && r != '_' && r != '%':
			expr.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
		case r == '\\':
			escaped = true
		case r == '_':
			expr.WriteString(".")
		default:
			expr.WriteString(".*")
		}
	}
	expr.WriteString("$")
	ok, err := regexp.MatchString(expr.String(), name)
	return err == nil && ok
}

// judgeActivity looks at transactions that a freeze would wait for.
func (p *Preflight) judgeActivity(f *findings, s *facts) {
	var found []finding
	switch {
	case s.prepared.err != nil:
		found = append(found, unknown(Error, "", s.prepared.err))
	case len(s.prepared.rows) != 0:
		found = append(found, refuse("XA COMMIT or XA ROLLBACK them (XA RECOVER FORMAT='SQL' lists them)",
			"%d prepared XA transactions hold their locks until somebody ends them", len(s.prepared.rows)))
	}
	f.check(s.server, XATransactions, found...)

	found = nil
	if s.long.err != nil {
		found = append(found, unknown(Warning, "PROCESS", s.long.err))
	}
	threads, ages := s.long.column("thread"), s.long.column("age")
	for i := range threads {
		found = append(found, warn("wait for it, or KILL "+threads[i],
			"the transaction of thread %s has been open for %s s: if it has written to the buckets, a freeze waits for it", threads[i], ages[i]))
	}
	f.check(s.server, LongTransactions, found...)
}
