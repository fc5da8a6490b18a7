package promote

import (
	"context"
	"fmt"
	"slices"

	"drover/migrator/internal/database"
)

// On MySQL a role is an account that nobody logs in by, most often a locked one,
// and what it grants stands in mysql.role_edges.

// unlocked leaves out accounts by which nobody can log in.
func unlocked(ctx context.Context, server *database.Server, all []privileged) ([]privileged, error) {
	locked, err := words(ctx, server, "SELECT CONCAT('''', User, '''@''', Host, '''') FROM mysql.user WHERE account_locked = 'Y'")
	if err != nil {
		return nil, fmt.Errorf("which accounts are locked: %w", err)
	}
	return slices.DeleteFunc(all, func(p privileged) bool { return slices.Contains(locked, p.name()) }), nil
}

// edge is a role that was granted.
type edge struct{ role, to privileged }

// privilegedByRoleMySQL lists the accounts that have a privilege which read_only
// does not stop by a role, a role's role, or a role that everybody has.
func privilegedByRoleMySQL(ctx context.Context, server *database.Server) ([]privileged, error) {
	own, err := privilegedAccounts(ctx, server)
	if err != nil {
		return nil, err
	}
	mandatory, err := server.Variable(ctx, "mandatory_roles")
	if err != nil {
		return nil, err
	}
	if mandatory != "" {
		return nil, fmt.Errorf("mandatory_roles is %s, which is not followed here: see that none of them has CONNECTION_ADMIN or SUPER", mandatory)
	}
	rows, err := server.DB.QueryContext(ctx, "SELECT FROM_USER, FROM_HOST, TO_USER, TO_HOST FROM mysql.role_edges ORDER BY TO_USER, TO_HOST, FROM_USER")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var edges []edge
	for rows.Next() {
		var e edge
		if err := rows.Scan(&e.role.user, &e.role.host, &e.to.user, &e.to.host); err != nil {
			return nil, err
		}
		edges = append(edges, e)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return unlocked(ctx, server, byEdges(own, edges))
}

// byEdges follows the edges from those that have a privilege of their own.
func byEdges(own []privileged, edges []edge) []privileged {
	passes := map[string]string{} // by name, the privilege
	for _, p := range own {
		passes[p.name()] = p.privilege
	}
	var found []privileged
	for more := true; more; {
		more = false
		for _, e := range edges {
			privilege, ok := passes[e.role.name()]
			if _, known := passes[e.to.name()]; !ok || known {
				continue
			}
			e.to.privilege, e.to.role = privilege+" by the role "+e.role.user, e.role.user
			passes[e.to.name()] = privilege
			found, more = append(found, e.to), true
		}
	}
	return found
}
