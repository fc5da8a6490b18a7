package cases

import (
	"slices"

	"drover/tools/conformance/internal/script"
)

// The groups.
const (
	parsing   = "request parsing"
	smuggling = "smuggling"
	answers   = "answers"
	duties    = "proxy duties"
	attacks   = "resource attacks"
)

// Groups returns the groups in the order of the table.
func Groups() []string { return []string{parsing, smuggling, answers, duties, attacks} }

// Table returns the table.
func Table() []script.Case {
	return slices.Concat(
		inGroup(parsing, requestLines(), targets(), hosts(), fields()),
		inGroup(smuggling, codings(), lengths(), chunks(), remainders()),
		inGroup(answers, answerHeads(), answerBodies(), interims(), upstreamEnds(), planted()),
		inGroup(duties, passing(), hopByHop(), adding(), expectations(), trailers(), bodyless(), oldClients(), pipelines(), upgrades(), streams(), partings(), retries()),
		inGroup(attacks, floods(), slownesses()),
	)
}

// inGroup puts rows in a group.
func inGroup(group string, parts ...[]script.Case) []script.Case {
	rows := slices.Concat(parts...)
	for i := range rows {
		rows[i].Group = group
	}
	return rows
}

// row is a case that is one request and one check.
type row struct{ name, rfc, why, send string }

// each makes a case of every row, all with the same checks. A nil drover is
// the same as want.
func each(want, drover script.Check, rows []row) []script.Case {
	cases := make([]script.Case, len(rows))
	for i, r := range rows {
		cases[i] = script.Case{Name: r.name, RFC: r.rfc, Why: r.why, Send: r.send, Want: want, Drover: drover}
	}
	return cases
}
