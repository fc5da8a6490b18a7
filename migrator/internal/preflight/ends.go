package preflight

import (
	"fmt"
	"slices"
	"strings"
)

// The checks of two servers against one another.
const (
	SameSchema     = "same-schema"
	SamePartitions = "same-partitions"
	SameFence      = "same-fence"
	TargetRows     = "target-rows"
)

// judgeEnds compares the two ends of a move. What is wrong is said of the
// target.
func (p *Preflight) judgeEnds(f *findings, source, target *facts) {
	judgeServerIDs(f, []*facts{source, target})
	p.judgeFences(f, []*facts{source, target})
	from, _ := source.number("max_allowed_packet")
	if to, _ := target.number("max_allowed_packet"); to < from {
		f.check(target.server, MaxAllowedPacket, refuse(fmt.Sprintf("SET GLOBAL max_allowed_packet = %.0f", from),
			"max_allowed_packet is %.0f here and %.0f at the source: a row that fits there may not fit here", to, from))
	}
	var schema, partitions, rows []finding
	for i, there := range target.tables {
		here := source.tables[i]
		if here.table == nil || there.table == nil {
			continue
		}
		name := here.sharded.Name
		for _, difference := range differences(here, there) {
			schema = append(schema, refuse("ALTER the table until SHOW CREATE TABLE says the same at both ends",
				"table %s, source against target: %s", name, difference))
		}
		partitions = append(partitions, partitioned(here, there)...)
		switch {
		case there.rows.err != nil:
			rows = append(rows, unknown(Error, "SELECT", there.rows.err))
		case len(there.rows.rows) != 0:
			rows = append(rows, refuse("find out whose they are, and delete them if nobody's; what an aborted move left, migrator resume removes",
				"table %s has rows of bucket %s at the target, where it does not live", name, there.rows.rows[0][0]))
		}
	}
	f.check(target.server, SameSchema, schema...)
	f.check(target.server, SamePartitions, partitions...)
	f.check(target.server, TargetRows, rows...)
}

// differences lists what a table has at one end alone. Keys that are not unique
// may differ.
func differences(source, target *tableFacts) []string {
	list := source.table.Same(target.table)
	keys := func(t *tableFacts) []string {
		var words []string
		for _, k := range t.keys() {
			word := strings.Join(k.columns, ",")
			if len(k.prefixed) != 0 {
				word += " (prefix of " + strings.Join(k.prefixed, ",") + ")"
			}
			words = append(words, word)
		}
		slices.Sort(words)
		return words
	}
	if from, to := keys(source), keys(target); !slices.Equal(from, to) {
		list = append(list, fmt.Sprintf("the unique keys are (%s) against (%s)", strings.Join(from, "), ("), strings.Join(to, "), (")))
	}
	if from, to := source.generation().expression, target.generation().expression; from != to {
		list = append(list, fmt.Sprintf("%s is %s against %s", source.sharded.BucketColumn, orPlain(from), orPlain(to)))
	}
	return list
}

func orPlain(expression string) string {
	if expression == "" {
		return "not generated"
	}
	return expression
}

// partitioned refuses tables with other partitions at the target: a row may
// have none there. Which partition a row is in does not matter.
func partitioned(source, target *tableFacts) []finding {
	for _, t := range []*tableFacts{source, target} {
		if t.partitions.err != nil {
			return []finding{unknown(Error, "SELECT", t.partitions.err)}
		}
	}
	if slices.EqualFunc(source.partitions.rows, target.partitions.rows, slices.Equal[[]string]) {
		return nil
	}
	return []finding{refuse("partition the table at both ends alike",
		"table %s has %d partitions at the source and %d at the target, or others: a row may have none there",
		source.sharded.Name, len(source.partitions.rows), len(target.partitions.rows))}
}

// judgeFences checks that all servers are fenced alike: writers that rely on
// triggers must find them at both ends.
func (p *Preflight) judgeFences(f *findings, all []*facts) {
	var first *facts
	for _, s := range all {
		if !s.read {
			continue
		}
		if first == nil {
			first = s
			continue
		}
		a, b := p.fencedBy(first), p.fencedBy(s)
		if a != b {
			f.check(s.server, SameFence, refuse("run migrator fence install, or migrator fence remove, which do it on all shards",
				"%s is fenced by %s, and %s by %s", first.server.Shard, a, s.server.Shard, b))
			continue
		}
		f.check(s.server, SameFence, note("by %s", b))
	}
}
