package doctor

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"drover/shardlib/fence"
)

// triggersEach is how many triggers fence a table: one an operation.
const triggersEach = 3

var quotedName = regexp.MustCompile("TRIGGER `((?:[^`]|``)+)`")

// readTriggers counts the fence's triggers on each table, and finds those that
// are not as this program would install them.
func (s *shardView) readTriggers(ctx context.Context, tables []fence.Sharded, buckets uint32, account string) error {
	want, table := map[string]string{}, map[string]string{} // by the trigger's name
	s.triggers = map[string]int{}
	for _, t := range tables {
		s.triggers[t.Name] = 0
		statements, err := fence.InstallStatements(t, buckets, account)
		if err != nil {
			return err
		}
		for _, statement := range statements {
			name := quotedName.FindStringSubmatch(statement)
			_, body, ok := strings.Cut(statement, " FOR EACH ROW ")
			if name == nil || !ok {
				continue // no trigger
			}
			unquoted := strings.ReplaceAll(name[1], "``", "`")
			want[unquoted], table[unquoted] = body, t.Name
		}
	}
	rows, err := s.server.DB.QueryContext(ctx, "SELECT TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()")
	if err != nil {
		return fmt.Errorf("read the triggers: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, body string
		if err := rows.Scan(&name, &body); err != nil {
			return fmt.Errorf("read the triggers: %w", err)
		}
		if _, ours := want[name]; !ours {
			continue
		}
		s.triggers[table[name]]++
		if body != want[name] {
			s.stale = append(s.stale, fmt.Sprintf("the trigger %s is not that of this map, account and version of Drover", name))
		}
	}
	return rows.Err()
}

// judgeTriggers finds tables without the fence's triggers where others have
// them. An installation that has none is fenced by the library.
func (v *view) judgeTriggers(n *notebook) {
	installed := false
	for _, s := range v.shards {
		for _, count := range s.triggers {
			installed = installed || count != 0
		}
	}
	for _, s := range v.shards {
		says := slices.Clone(s.stale)
		for _, table := range slices.Sorted(maps.Keys(s.triggers)) {
			if count := s.triggers[table]; installed && count != triggersEach {
				says = append(says, fmt.Sprintf("table %s has %d of %d triggers", table, count, triggersEach))
			}
		}
		if len(says) == 0 {
			continue
		}
		n.add(Finding{Kind: FenceTriggers, Severity: Danger, Shard: s.server.Shard,
			Says:  fmt.Sprintf("the triggers on %s are not those that they should be: %s. A write that the fence should refuse may pass there.", s.server.Name(), strings.Join(says, "; ")),
			Cause: "An installation was interrupted, a table or a shard was added or made anew, or the migrator's account was changed.",
			Mend:  []string{"migrator fence install"}})
	}
}
