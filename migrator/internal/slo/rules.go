package slo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// The alerts, each with a page in docs/runbooks.
const (
	alertBurning = "DroverSLOBurning"     // a pair of page
	alertSpent   = "DroverSLOBudgetSpent" // a pair of ticket
	alertMoved   = "DroverSLOMovedWorse"  // moved against stayed
	alertNoData  = "DroverSLONoData"      // nothing to judge by
)

type ruleFile struct {
	Groups []ruleGroup `yaml:"groups"`
}

type ruleGroup struct {
	Name     string `yaml:"name"`
	Interval string `yaml:"interval"`
	Rules    []rule `yaml:"rules"`
}

type rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// Rules writes the objectives as Prometheus' recording and alerting rules:
//
//	drover:slo_events:rate5m   requests a second in the shortest window
//	drover:slo_bad:rate5m      those that were bad
//	drover:slo_burn:ratio1h    burn rate, one for each window
//	drover:slo_events:count1h  requests, one for each window
//
// each with the labels objective, datacenter and cohort. A longer window is made
// of what was recorded of the shortest, so that its cost does not grow with the
// proxies; it is weighed by requests, as one look at the whole window would be.
func (c *Config) Rules() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var file ruleFile
	for i := range c.Objectives {
		o := &c.Objectives[i]
		rules := slices.Concat(c.records(o), c.alerts(o))
		file.Groups = append(file.Groups, ruleGroup{Name: "drover-slo-" + o.Name, Interval: windowName(c.ruleInterval()), Rules: rules})
	}
	base := windowName(c.Windows.base())
	up := c.selected("up")
	file.Groups = append(file.Groups, ruleGroup{Name: "drover-slo-data", Interval: windowName(c.ruleInterval()), Rules: []rule{{
		Alert: alertNoData, Expr: "(" + up + " == 0) or absent(" + up + ")", For: base, Labels: map[string]string{"severity": string(Ticket)},
		Annotations: c.notes(alertNoData, "Proxy {{ $labels.instance }} cannot be scraped", "A campaign holds as long as one proxy tells nothing."),
	}}})
	text, err := yaml.MarshalWithOptions(file, yaml.Indent(2), yaml.IndentSequence(true), yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return nil, fmt.Errorf("write the rules: %w", err)
	}
	return append([]byte("# Written by migrator slo rules from the section slo of the migrator's configuration.\n"), text...), nil
}

// ruleInterval is how often the rules are evaluated: ten times in the shortest
// window, every 30 s at most seldom.
func (c *Config) ruleInterval() time.Duration {
	return max(time.Second, min(30*time.Second, (c.Windows.base()/10).Round(time.Second)))
}

// matchersOf are the matchers of an objective's series.
func (o *Objective) matchersOf() []string {
	m := []string{`datacenter!="` + unrouted + `"`}
	if len(o.Datacenters) != 0 {
		m = append(m, `datacenter=~"`+strings.Join(quoted(o.Datacenters), "|")+`"`)
	}
	return m
}

// quoted makes words of regular expressions, in a string of PromQL.
func quoted(words []string) []string {
	var all []string
	for _, w := range words {
		var b strings.Builder
		for _, r := range w {
			switch {
			case r == '"':
				b.WriteString(`\"`)
			case strings.ContainsRune(`\.+*?()|[]{}^$`, r):
				b.WriteString(`\\`)
				if r == '\\' {
					b.WriteString(`\`)
				}
				b.WriteRune(r)
			default:
				b.WriteRune(r)
			}
		}
		all = append(all, b.String())
	}
	return all
}

// records are an objective's recording rules.
func (c *Config) records(o *Objective) []rule {
	base := windowName(c.Windows.base())
	var rules []rule
	add := func(record, expr, cohort string) {
		labels := map[string]string{"objective": o.Name}
		if cohort != "" {
			labels["cohort"] = cohort
		}
		rules = append(rules, rule{Record: record, Expr: expr, Labels: labels})
	}
	cohorts := o.cohorts()
	if slices.Contains(cohorts, All) {
		events, bad := c.rates(o, "datacenter", responsesFamily, secondsFamily, nil)
		add("drover:slo_events:rate"+base, events, string(All))
		add("drover:slo_bad:rate"+base, bad, string(All))
	}
	var some []string
	for _, k := range cohorts {
		if k != All {
			some = append(some, string(k))
		}
	}
	if len(some) != 0 {
		only := []string{`cohort=~"` + strings.Join(some, "|") + `"`}
		events, bad := c.rates(o, "datacenter, cohort", cohortResponsesFamily, cohortSecondsFamily, only)
		add("drover:slo_events:rate"+base, events, "")
		add("drover:slo_bad:rate"+base, bad, "")
	}
	of := fmt.Sprintf("{objective=%q}", o.Name)
	for _, w := range c.Windows.all() {
		name := windowName(w)
		events, bad := "drover:slo_events:rate"+base+of, "drover:slo_bad:rate"+base+of
		count := fmt.Sprintf("%s * %g", events, w.Seconds())
		if w != c.Windows.base() {
			events, bad = fmt.Sprintf("sum_over_time(%s[%s])", events, name), fmt.Sprintf("sum_over_time(%s[%s])", bad, name)
			count = fmt.Sprintf("%s * %g", events, c.ruleInterval().Seconds())
		}
		add("drover:slo_events:count"+name, count, "")
		// Without requests there is no ratio: 0 / 0 is not a number, and no alert.
		add("drover:slo_burn:ratio"+name, fmt.Sprintf("%s / (%s > 0) / %.12g", bad, events, o.budget()), "")
	}
	return rules
}

// rates are the expressions of all requests, and of those that were bad.
func (c *Config) rates(o *Objective, by, responses, seconds string, more []string) (events, bad string) {
	base := windowName(c.Windows.base())
	matchers := append(o.matchersOf(), more...)
	rate := func(family string, and ...string) string {
		return fmt.Sprintf("sum by (%s) (rate(%s[%s]))", by, c.selected(family, append(slices.Clone(matchers), and...)...), base)
	}
	if o.Kind == Latency {
		events = rate(seconds + "_count")
		return events, fmt.Sprintf("clamp_min(%s - %s, 0)", events, rate(seconds+"_bucket", `le=~"`+leOf(o.Threshold)+`"`))
	}
	if o.Unanswered == unansweredBad {
		return rate(responses, `class!="client_gone"`), rate(responses, `class=~"5xx|none"`)
	}
	return rate(responses, `class!~"none|client_gone"`), rate(responses, `class="5xx"`)
}

// alerts are an objective's alerting rules.
func (c *Config) alerts(o *Objective) []rule {
	var rules []rule
	who := "{{ $labels.objective }} of {{ $labels.datacenter }} ({{ $labels.cohort }} users)"
	for _, kind := range []struct {
		alert    string
		severity Severity
		pairs    []Pair
		text     string
	}{
		{alertBurning, Page, c.Windows.Page, "A campaign stops, or goes back if this came after a step."},
		{alertSpent, Ticket, c.Windows.Ticket, "A campaign goes at half its pace."},
	} {
		var terms []string
		for _, p := range kind.pairs {
			terms = append(terms, c.term(o, c.Windows.scaled(p)))
		}
		if len(terms) == 0 {
			continue
		}
		rules = append(rules, rule{Alert: kind.alert, Expr: strings.Join(terms, "\nor\n"),
			Labels:      map[string]string{"severity": string(kind.severity)},
			Annotations: c.notes(kind.alert, who+" burns its error budget {{ $value | humanize }} times faster than allowed", kind.text)})
	}
	if expr := c.movedTerm(o); expr != "" {
		rules = append(rules, rule{Alert: alertMoved, Expr: expr, Labels: map[string]string{"severity": string(Page), "cohort": string(Moved)},
			Annotations: c.notes(alertMoved, "Users just moved to {{ $labels.datacenter }} fare worse than those who stayed: {{ $labels.objective }}", "A campaign stops, or goes back if this came after a step.")})
	}
	return append(rules, c.absent(o)...)
}

// term is true while both windows of a pair burn, by enough events.
func (c *Config) term(o *Objective, p Pair) string {
	of := fmt.Sprintf("{objective=%q}", o.Name)
	long, short := windowName(p.Long), windowName(p.Short)
	return fmt.Sprintf("(drover:slo_burn:ratio%s%s >= %g and drover:slo_burn:ratio%s%s >= %g and drover:slo_events:count%s%s >= %d)",
		long, of, p.Burn, short, of, p.Burn, short, of, o.MinEvents)
}

// movedTerm is true while those who were moved burn more than those who stayed,
// by enough events and enough bad ones. The migrator's own judge asks besides
// whether the difference can be chance.
func (c *Config) movedTerm(o *Objective) string {
	cohorts := o.cohorts()
	if !slices.Contains(cohorts, Moved) || !slices.Contains(cohorts, Stayed) {
		return ""
	}
	base := windowName(c.Windows.base())
	series := func(name string, cohort Cohort) string {
		return fmt.Sprintf("%s%s{objective=%q, cohort=%q}", name, base, o.Name, cohort)
	}
	j := judge{config: c}
	return fmt.Sprintf("(%s - on (objective) group_left () min by (objective) (%s and %s >= %d)) >= %g\nand %s >= %d\nand %s * %g >= %d",
		series("drover:slo_burn:ratio", Moved), series("drover:slo_burn:ratio", Stayed), series("drover:slo_events:count", Stayed), o.MinEvents,
		j.excess(true), series("drover:slo_events:count", Moved), o.MinEvents,
		series("drover:slo_bad:rate", Moved), c.Windows.base().Seconds(), badMin)
}

// absent are the alerts for an objective whose series are not there.
func (c *Config) absent(o *Objective) []rule {
	base := windowName(c.Windows.base())
	datacenters := o.Datacenters
	if len(datacenters) == 0 {
		datacenters = []string{""}
	}
	var rules []rule
	for _, d := range datacenters {
		for _, cohort := range o.cohorts() {
			matchers := fmt.Sprintf("objective=%q, cohort=%q", o.Name, cohort)
			if d != "" {
				matchers += fmt.Sprintf(", datacenter=%q", d)
			}
			rules = append(rules, rule{Alert: alertNoData, Expr: fmt.Sprintf("absent(drover:slo_events:rate%s{%s})", base, matchers), For: base,
				Labels: map[string]string{"severity": string(Ticket)},
				Annotations: c.notes(alertNoData, fmt.Sprintf("There are no figures of %s of %s (%s users)", o.Name, cmp.Or(d, "any datacenter"), cohort),
					"A campaign holds as long as a figure is missing.")})
		}
	}
	return rules
}

func (c *Config) notes(alert, summary, description string) map[string]string {
	return map[string]string{"summary": summary, "description": description, "runbook": "docs/runbooks/" + alert + ".md"}
}
