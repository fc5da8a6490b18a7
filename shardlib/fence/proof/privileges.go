package proof

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"drover/shardlib/fence"
)

var grant = regexp.MustCompile("^GRANT (.+?) ON (?:TABLE )?(?:(\\*)|`((?:[^`]|``)*)`)\\.(?:(\\*)|`((?:[^`]|``)*)`) TO ")

// around are the privileges by which an account gets around the triggers, and
// how. Those on the fence's own table are judged apart.
var around = []struct{ privilege, how string }{
	{"DROP", "TRUNCATE fires no trigger, nor does DROP TABLE"},
	{"ALTER", "ALTER TABLE can truncate, drop and exchange partitions, and fires no trigger"},
	{"TRIGGER", "the triggers themselves can be dropped"},
	{"SUPER", "it may pass for other accounts, as a DEFINER does"},
	{"SET USER", "it may make routines and events of the migrator's account"},
	{"BINLOG REPLAY", "the events of a BINLOG statement fire no trigger"},
	{"DELETE HISTORY", "rows of a history go without a trigger"},
}

// Privileges tells by which privileges the account of the connection could get
// around the fence, one a line. What roles grant counts if the role is enabled.
func (p *Prover) Privileges(ctx context.Context) ([]string, error) {
	var database string
	if err := p.conn.QueryRowContext(ctx, "SELECT DATABASE()").Scan(&database); err != nil {
		return nil, fmt.Errorf("fence: read the account's privileges: %w", err)
	}
	rows, err := p.conn.QueryContext(ctx, "SHOW GRANTS")
	if err != nil {
		return nil, fmt.Errorf("fence: read the account's privileges: %w", err)
	}
	defer rows.Close()
	held := map[string]bool{}
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, fmt.Errorf("fence: read the account's privileges: %w", err)
		}
		m := grant.FindStringSubmatch(line)
		if m == nil || m[2] == "" && !mayBe(m[3], database) {
			continue
		}
		table := strings.ReplaceAll(m[5], "``", "`")
		for _, word := range strings.Split(m[1], ",") {
			word = strings.ToUpper(strings.TrimSpace(word))
			write := slices.Contains([]string{"INSERT", "UPDATE", "DELETE"}, word) || word == "ALL PRIVILEGES"
			if write && (table == "" || table == fence.Table) {
				held[fence.Table] = true
			}
			if table != fence.Table {
				held[word] = true
			}
		}
	}
	var found []string
	for _, a := range around {
		if held[a.privilege] || held["ALL PRIVILEGES"] {
			found = append(found, a.privilege+": "+a.how)
		}
	}
	if held[fence.Table] {
		found = append(found, "INSERT, UPDATE or DELETE on "+fence.Table+": it can write the fence's rows itself; an application needs SELECT there")
	}
	return found, rows.Err()
}

// mayBe says whether the database of a grant, a pattern, may be this one.
func mayBe(pattern, database string) bool {
	pattern = strings.NewReplacer("``", "`", `\_`, "\x00", `\%`, "\x01").Replace(pattern)
	expr := strings.NewReplacer("_", ".", "%", ".*", "\x00", "_", "\x01", "%").Replace(regexp.QuoteMeta(pattern))
	ok, err := regexp.MatchString("(?s)^"+expr+"$", database)
	return err != nil || ok
}
