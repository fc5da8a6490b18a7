package observability

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"drover/internal/catalog"
)

// common are metrics that every program, or Prometheus itself, has.
var common = []string{"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}

// ofTarget are the labels that Prometheus gives to all that it scrapes.
var ofTarget = []string{"job", "instance"}

// query is an expression that is compared with the metrics that there are.
type query struct {
	metrics map[string]catalog.Metric
	errs    []error
}

// checkQuery says what is wrong with an expression: nothing, an error of its
// grammar, or names and values that no program has.
func checkQuery(metrics map[string]catalog.Metric, text string) error {
	expr, err := parser.ParseExpr(text)
	if err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	q := &query{metrics: metrics}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		q.node(node)
		return nil
	})
	if err := errors.Join(q.errs...); err != nil {
		return fmt.Errorf("%s:\n%w", text, err)
	}
	return nil
}

func (q *query) failed(format string, args ...any) {
	q.errs = append(q.errs, fmt.Errorf(format, args...))
}

func (q *query) node(node parser.Node) {
	switch n := node.(type) {
	case *parser.VectorSelector:
		q.selector(n)
	case *parser.AggregateExpr:
		q.grouping(n.Expr, n.Grouping)
	case *parser.BinaryExpr:
		if n.VectorMatching != nil {
			q.grouping(n.LHS, n.VectorMatching.MatchingLabels)
			q.grouping(n.RHS, n.VectorMatching.MatchingLabels)
		}
	case *parser.Call:
		q.call(n)
	}
}

// find finds the metric of a series, and whether the series is of a histogram.
func (q *query) find(series string) (m catalog.Metric, part string, ok bool) {
	if m, ok = q.metrics[series]; ok && m.Type != "histogram" {
		return m, "", true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if name, cut := strings.CutSuffix(series, suffix); cut {
			if m, ok = q.metrics[name]; ok && m.Type == "histogram" {
				return m, suffix, true
			}
		}
	}
	return catalog.Metric{}, "", false
}

func (q *query) selector(s *parser.VectorSelector) {
	if slices.Contains(common, s.Name) {
		return
	}
	m, part, ok := q.find(s.Name)
	if !ok {
		q.failed("no program has %q; a histogram is asked for by _bucket, _sum or _count", s.Name)
		return
	}
	for _, matcher := range s.LabelMatchers {
		if matcher.Name == labels.MetricName || slices.Contains(ofTarget, matcher.Name) {
			continue
		}
		l, has := m.Label(matcher.Name)
		if !has || l.Name == "le" && part != "_bucket" {
			q.failed("%s has no label %q", s.Name, matcher.Name)
			continue
		}
		q.values(s.Name, l, matcher)
	}
}

// values checks that what a matcher names, all of its alternatives, is a value
// of the label.
func (q *query) values(series string, l catalog.Label, matcher *labels.Matcher) {
	if l.Values == nil || matcher.Value == "" || matcher.Value == ".*" {
		return
	}
	alternatives := []string{matcher.Value}
	if matcher.Type == labels.MatchRegexp || matcher.Type == labels.MatchNotRegexp {
		alternatives = strings.Split(matcher.Value, "|")
	}
	for _, one := range alternatives {
		pattern, err := regexp.Compile("^(?:" + one + ")$")
		if err != nil {
			q.failed("%s: %s: a regular expression that cannot be taken apart at its |", series, matcher)
			return
		}
		if !slices.ContainsFunc(l.Values, pattern.MatchString) {
			q.failed("%s: %s is never %q; it is one of %v", series, l.Name, one, l.Values)
		}
	}
}

// grouping checks that something below has the labels.
func (q *query) grouping(below parser.Node, names []string) {
	if len(names) == 0 {
		return
	}
	known := slices.Concat(ofTarget, []string{"le"})
	parser.Inspect(below, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			if m, _, ok := q.find(s.Name); ok {
				for _, l := range m.Labels {
					known = append(known, l.Name)
				}
			}
		}
		return nil
	})
	for _, name := range names {
		if !slices.Contains(known, name) {
			q.failed("nothing in %s has the label %q", below, name)
		}
	}
}

// call checks that what counts is not read as what does not.
func (q *query) call(c *parser.Call) {
	if !slices.Contains([]string{"rate", "increase", "irate"}, c.Func.Name) {
		return
	}
	matrix, ok := c.Args[0].(*parser.MatrixSelector)
	if !ok {
		return
	}
	name := matrix.VectorSelector.(*parser.VectorSelector).Name
	if m, _, found := q.find(name); found && m.Type == "gauge" {
		q.failed("%s of %s, which is a gauge", c.Func.Name, name)
	}
}

func TestAQueryOfWhatNoProgramHasIsFound(t *testing.T) {
	metrics := map[string]catalog.Metric{
		"a_total": {Name: "a_total", Type: "counter", Labels: []catalog.Label{{Name: "datacenter"}, {Name: "outcome", Values: []string{"good", "bad"}}}},
		"b":       {Name: "b", Type: "gauge"},
		"c":       {Name: "c", Type: "histogram", Labels: []catalog.Label{{Name: "le", Values: []string{"0.5", "1"}}}},
	}
	for text, wrong := range map[string]string{
		`sum by (datacenter, instance) (rate(a_total{outcome=~"good|bad",datacenter="x"}[5m])) > 1`: "",
		`b and on (instance) up == 1`:                      "",
		`c_count - ignoring (le) c_bucket{le=~"1(\\.0)?"}`: "",
		`sum(rate(a_total[5m])`:                            "unclosed",
		`z_total`:                                          "no program has",
		`rate(c[5m])`:                                      "no program has",
		`a_total{shard="x"}`:                               "no label",
		`a_total{outcome=~"good|better"}`:                  "never",
		`sum by (shard) (a_total)`:                         "the label",
		`rate(b[5m])`:                                      "a gauge",
		`c_bucket{le="2"}`:                                 "never",
		`c_sum{le="1"}`:                                    "no label",
		`a_total / on (shard) group_left () sum by (shard) (b)`: "the label",
	} {
		err := checkQuery(metrics, text)
		if (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v, want %q", text, err, wrong)
		}
	}
}
