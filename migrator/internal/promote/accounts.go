package promote

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// ownAccounts come with the server; they are locked, or only define views.
var ownAccounts = []string{"mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema"}

// accounts: nobody writes on a server that is read-only. An account that could
// is refused, connected or not, for it may connect during the freeze. Those that
// the operator vouches for warn while they are connected.
func (i *inspection) accounts(ctx context.Context) error {
	for _, server := range []*database.Server{i.from, i.to} {
		if err := i.accountsOn(ctx, server); err != nil {
			return err
		}
	}
	return nil
}

func (i *inspection) accountsOn(ctx context.Context, server *database.Server) error {
	privileged, err := privilegedAccounts(ctx, server)
	if err != nil {
		return err
	}
	read := privilegedByRole
	if i.dialect.MySQL() {
		read = privilegedByRoleMySQL
		if privileged, err = unlocked(ctx, server, privileged); err != nil {
			return err
		}
	}
	byRole, err := read(ctx, server)
	if err != nil {
		i.warn(server, CheckAccounts, "GRANT SELECT ON mysql.* TO the migrator's account",
			"it cannot be seen whether roles let accounts write in spite of read_only: %s", err)
	}
	connected, err := words(ctx, server, "SELECT DISTINCT USER FROM information_schema.PROCESSLIST WHERE COMMAND NOT LIKE 'Binlog Dump%'")
	if err != nil {
		return err
	}
	seen := map[string]bool{server.Account.User: true, i.Replication.User: true}
	for _, name := range ownAccounts {
		seen[name] = true
	}
	for _, account := range append(privileged, byRole...) {
		if seen[account.user] {
			continue
		}
		seen[account.user] = true
		vouched, is := slices.Contains(i.PastReadOnly, account.user), slices.Contains(connected, account.user)
		state := "it is not connected now"
		if is {
			state = "it is connected now"
		}
		switch {
		case !vouched:
			i.refuse(server, CheckAccounts, account.remedy()+"; or, if nobody writes by it, name it in promotion.past_read_only",
				"%s has %s, so read_only does not stop its writes; %s", account.name(), account.privilege, state)
		case is:
			i.warn(server, CheckAccounts, "see that nobody writes by it until the promotion is done",
				"%s has %s, so read_only does not stop its writes; %s", account.name(), account.privilege, state)
		}
	}
	return nil
}

// privileged is an account that read_only does not stop.
type privileged struct {
	user, host, privilege string
	role                  string // by which it has the privilege, "" for its own
}

func (p privileged) name() string { return "'" + p.user + "'@'" + p.host + "'" }

func (p privileged) remedy() string {
	if p.role != "" {
		return fmt.Sprintf("REVOKE %s FROM %s", fence.Quote(p.role), p.name())
	}
	return fmt.Sprintf("REVOKE %s ON *.* FROM %s", p.privilege, p.name())
}

// passingPrivileges are the privileges that read_only does not stop on this
// server. MariaDB had SUPER until READ_ONLY ADMIN came to be, in 10.5, and took
// it from SUPER in 10.11; on MySQL it is CONNECTION_ADMIN, and SUPER still.
func passingPrivileges(version string) []string {
	if _, mariadb := database.DialectOf(version); !mariadb {
		return []string{"CONNECTION_ADMIN", "SUPER"}
	}
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil || major < 10 || major == 10 && minor < 11 {
		return []string{"READ_ONLY ADMIN", "READ ONLY ADMIN", "SUPER"} // unknown: the safe answer
	}
	return []string{"READ_ONLY ADMIN", "READ ONLY ADMIN"}
}

// privilegedAccounts lists the accounts that read_only does not stop, each once.
func privilegedAccounts(ctx context.Context, server *database.Server) ([]privileged, error) {
	version, err := server.Variable(ctx, "version")
	if err != nil {
		return nil, err
	}
	passing := passingPrivileges(version)
	rows, err := server.DB.QueryContext(ctx, "SELECT GRANTEE, PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES ORDER BY GRANTEE, PRIVILEGE_TYPE")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []privileged
	for rows.Next() {
		var grantee string
		var p privileged
		if err := rows.Scan(&grantee, &p.privilege); err != nil {
			return nil, err
		}
		if !slices.Contains(passing, p.privilege) {
			continue
		}
		at := max(0, strings.LastIndex(grantee, "@"))
		p.user, p.host = strings.Trim(grantee[:at], "'"), strings.Trim(grantee[at+1:], "'")
		all = append(all, p)
	}
	return all, rows.Err()
}

// privilegedByRole lists the accounts that have such a privilege by a role,
// which they may set at any time.
func privilegedByRole(ctx context.Context, server *database.Server) ([]privileged, error) {
	version, err := server.Variable(ctx, "version")
	if err != nil {
		return nil, err
	}
	passing := append(passingPrivileges(version), "ALL PRIVILEGES")
	rows, err := server.DB.QueryContext(ctx, "SELECT User, Host, Role FROM mysql.roles_mapping WHERE Host <> '' ORDER BY User, Host, Role")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var mapped []privileged
	for rows.Next() {
		var p privileged
		if err := rows.Scan(&p.user, &p.host, &p.role); err != nil {
			return nil, err
		}
		mapped = append(mapped, p)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	var all []privileged
	for _, p := range mapped {
		// It shows what the role has by other roles, too.
		grants, err := words(ctx, server, "SHOW GRANTS FOR "+fence.Quote(p.role))
		if err != nil {
			return nil, err
		}
		for _, grant := range grants {
			what, _, global := strings.Cut(grant, " ON *.* TO ")
			passes := slices.ContainsFunc(passing, func(word string) bool { return strings.Contains(what, word) })
			if global && passes {
				p.privilege = strings.TrimPrefix(what, "GRANT ") + " by the role " + p.role
				all = append(all, p)
				break
			}
		}
	}
	return all, nil
}
