package preflight

import (
	"regexp"
	"strings"

	"drover/shardlib/fence"
)

// The checks of triggers.
const (
	OtherTriggers = "other-triggers"
	FenceTriggers = "fence-triggers"
	FenceAccount  = "fence-account"
)

// fenced is how a server is fenced.
type fenced string

const (
	byLibrary  fenced = "the library"
	byTriggers fenced = "triggers"
	partly     fenced = "triggers on some tables alone"
)

// expected are the triggers of a table as this program would make them.
func (p *Preflight) expected(table fence.Sharded) (map[string]string, error) {
	statements, err := fence.InstallStatements(table, p.Map.Buckets(), p.Account)
	if err != nil {
		return nil, err
	}
	bodies := map[string]string{}
	for _, statement := range statements {
		name := quotedName.FindStringSubmatch(statement)
		_, body, _ := strings.Cut(statement, " FOR EACH ROW ")
		bodies[strings.ReplaceAll(name[1], "``", "`")] = body
	}
	return bodies, nil
}

var accountInBody = regexp.MustCompile(`<> '([^']*)' THEN`)

// judgeTriggers checks that the fence is on all tables or on none, that it is
// the one that this program would install, and that nothing else fires.
func (p *Preflight) judgeTriggers(f *findings, s *facts) {
	var others, wrong, account []finding
	installed, tables := 0, 0
	for _, t := range s.tables {
		if t.table == nil {
			continue
		}
		tables++
		bodies, err := p.expected(t.sharded)
		if err != nil {
			account = append(account, refuse("choose another account", "%s", err))
			break
		}
		if t.triggers.err != nil {
			wrong = append(wrong, unknown(Error, "TRIGGER", t.triggers.err))
			continue
		}
		names, contents := t.triggers.column("name"), t.triggers.column("body")
		n, stale := 0, false
		for i, name := range names {
			want, ours := bodies[name]
			if !ours {
				others = append(others, refuse("drop it: the migrator's writes would fire it at the target a second time",
					"table %s has the trigger %s", t.sharded.Name, name))
				continue
			}
			n++
			if contents[i] == want {
				continue
			}
			if m := accountInBody.FindStringSubmatch(contents[i]); m != nil && m[1] != p.Account {
				account = append(account, refuse("run migrator fence install, or put account.user right in the configuration",
					"table %s: the trigger %s lets %q pass, and the migrator's account is %q", t.sharded.Name, name, m[1], p.Account))
			}
			stale = true
		}
		switch {
		case n == 0:
		case n != len(bodies):
			wrong = append(wrong, refuse("run migrator fence install", "table %s has %d of %d triggers", t.sharded.Name, n, len(bodies)))
			installed++
		case stale:
			wrong = append(wrong, refuse("run migrator fence install",
				"the triggers of table %s are not those of this map, account and version of Drover", t.sharded.Name))
			installed++
		default:
			installed++
		}
	}
	if user, _, _ := strings.Cut(s.user, "@"); installed != 0 && user != p.Account {
		account = append(account, refuse("put account.user right in the configuration",
			"the server knows the migrator as %q, and the triggers let %q pass", user, p.Account))
	}
	if installed != 0 && installed != tables {
		wrong = append(wrong, refuse("run migrator fence install, or migrator fence remove",
			"%d of %d tables have the fence's triggers", installed, tables))
	}
	f.check(s.server, OtherTriggers, others...)
	f.check(s.server, FenceTriggers, wrong...)
	f.check(s.server, FenceAccount, account...)
}

// fencedBy says how a server's tables are fenced.
func (p *Preflight) fencedBy(s *facts) fenced {
	with, without := 0, 0
	for _, t := range s.tables {
		if t.table == nil || t.triggers.err != nil {
			continue
		}
		bodies, err := p.expected(t.sharded)
		if err != nil {
			continue
		}
		n := 0
		for _, name := range t.triggers.column("name") {
			if _, ours := bodies[name]; ours {
				n++
			}
		}
		if n != 0 {
			with++
		} else {
			without++
		}
	}
	switch {
	case with == 0:
		return byLibrary
	case without == 0:
		return byTriggers
	default:
		return partly
	}
}
