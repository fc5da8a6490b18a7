package slo

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"drover/tools/testservers"
)

// promtool runs promtool in a folder.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	programs, err := testservers.InstallPrometheus(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), programs.Promtool, args...)
	command.Dir = dir
	if text, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, text)
	}
}

func ruleConfig() Config {
	c := Default()
	c.Source.Kind, c.Source.URL = KindPrometheus, "http://127.0.0.1:9090"
	c.Objectives = []Objective{availability(), latency()}
	c.Objectives[0].standard()
	return c
}

func writeRules(t *testing.T, c *Config) (dir string) {
	t.Helper()
	dir = t.TempDir()
	text, err := c.Rules()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheRulesOfAnyConfigurationPassPromtool(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"default": func(*Config) {},
		"short":   func(c *Config) { c.Windows.Scale = 0.01 },
		"odd":     func(c *Config) { c.Windows.Scale = 0.0137 },
		"long":    func(c *Config) { c.Windows.Scale = 2 },
		"none":    func(c *Config) { c.Objectives[0].Unanswered = unansweredBad; c.Windows.Ticket = nil },
		"filters": func(c *Config) {
			c.Source.Selector = ` job=~"edge|proxy", zone!="x\"y"`
			c.Objectives[0].Datacenters, c.Objectives[0].Cohorts = []string{`a.b"c\d`, "cloud"}, []Cohort{All}
			c.Objectives[1].Threshold, c.Objectives[1].Cohorts = Bounds()[9], []Cohort{Moved}
		},
	} {
		c := ruleConfig()
		change(&c)
		dir := writeRules(t, &c)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			promtool(t, dir, "check", "rules", "rules.yaml")
		})
	}
}

// ruleSeries is a proxy's counters in promtool's notation: good and bad requests
// a minute, of each group.
func ruleSeries(groups map[group][2]int) string {
	var b strings.Builder
	add := func(series string, perMinute int) {
		fmt.Fprintf(&b, "      - {series: '%s', values: '0+%dx600'}\n", series, perMinute)
	}
	all := map[string][2]int{}
	for g, n := range groups {
		all[g.datacenter] = [2]int{all[g.datacenter][0] + n[0], all[g.datacenter][1] + n[1]}
		add(fmt.Sprintf(`%s{job="drover-proxy",instance="a",datacenter="%s",cohort="%s",class="2xx"}`, cohortResponsesFamily, g.datacenter, g.cohort), n[0])
		add(fmt.Sprintf(`%s{job="drover-proxy",instance="a",datacenter="%s",cohort="%s",class="5xx"}`, cohortResponsesFamily, g.datacenter, g.cohort), n[1])
	}
	for d, n := range all {
		add(fmt.Sprintf(`%s{job="drover-proxy",instance="a",datacenter="%s",class="2xx"}`, responsesFamily, d), n[0])
		add(fmt.Sprintf(`%s{job="drover-proxy",instance="a",datacenter="%s",class="5xx"}`, responsesFamily, d), n[1])
		add(fmt.Sprintf(`%s{job="drover-proxy",instance="a",datacenter="%s",class="none"}`, responsesFamily, d), 1000)
	}
	return b.String()
}

// fires is an alert that promtool expects, or nothing of that name.
type fires struct{ alert, labels, annotations string }

// ruleCase is one of promtool's unit tests: series, and what they make fire.
func ruleCase(series string, expected ...fires) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  - interval: 1m\n    input_series:\n%s    alert_rule_test:\n", series)
	for _, f := range expected {
		fmt.Fprintf(&b, "      - {eval_time: 40m, alertname: %s, exp_alerts: [", f.alert)
		if f.labels != "" {
			fmt.Fprintf(&b, "{exp_labels: {%s}, exp_annotations: {%s}}", f.labels, f.annotations)
		}
		b.WriteString("]}\n")
	}
	return b.String()
}

func TestTheAlertsFireForWhatTheyAreNamedForAlone(t *testing.T) {
	t.Parallel()
	c := ruleConfig()
	c.Objectives = c.Objectives[:1]
	dir := writeRules(t, &c)
	up := "      - {series: 'up{job=\"drover-proxy\",instance=\"a\"}', values: '1x600'}\n"
	well := map[group][2]int{{"legacy", Stayed}: {100_000, 5}, {"legacy", Moved}: {0, 0}, {"cloud", Stayed}: {10_000, 0}, {"cloud", Moved}: {1000, 0}}
	change := func(g group, n [2]int) string {
		groups := map[group][2]int{g: n}
		for k, v := range well {
			if k != g {
				groups[k] = v
			}
		}
		return up + ruleSeries(groups)
	}
	notes := func(alert, summary, text string) string {
		return fmt.Sprintf("summary: '%s', description: '%s', runbook: docs/runbooks/%s.md", summary, text, alert)
	}
	const stop, half = "A campaign stops, or goes back if this came after a step.", "A campaign goes at half its pace."
	var cases strings.Builder
	cases.WriteString("rule_files: [rules.yaml]\nevaluation_interval: 30s\ntests:\n")
	cases.WriteString(ruleCase(up+ruleSeries(well), fires{alert: alertBurning}, fires{alert: alertSpent}, fires{alert: alertMoved}, fires{alert: alertNoData}))
	cases.WriteString(ruleCase(change(group{"cloud", Moved}, [2]int{980, 20}),
		fires{alertBurning, "severity: page, objective: availability, datacenter: cloud, cohort: moved",
			notes(alertBurning, "availability of cloud (moved users) burns its error budget 20 times faster than allowed", stop)},
		fires{alertMoved, "severity: page, objective: availability, datacenter: cloud, cohort: moved",
			notes(alertMoved, "Users just moved to cloud fare worse than those who stayed: availability", stop)}))
	few := change(group{"cloud", Moved}, [2]int{1, 1})
	cases.WriteString(ruleCase(few, fires{alert: alertBurning}, fires{alert: alertMoved}))
	c4 := map[group][2]int{{"legacy", Stayed}: {100_000, 0}, {"legacy", Moved}: {0, 0}, {"cloud", Stayed}: {0, 0}, {"cloud", Moved}: {9960, 40}}
	of := func(cohort, labels string) fires {
		return fires{alertSpent, "severity: ticket, objective: availability, datacenter: cloud, cohort: " + cohort + labels,
			notes(alertSpent, "availability of cloud ("+cohort+" users) burns its error budget 4 times faster than allowed", half)}
	}
	both := of("moved", "")
	both.annotations += "}}, {exp_labels: {" + of("all", "").labels + "}, exp_annotations: {" + of("all", "").annotations
	cases.WriteString(ruleCase(up+ruleSeries(c4), both, fires{alert: alertBurning}, fires{alert: alertMoved}))
	cases.WriteString(ruleCase(strings.Replace(up+ruleSeries(well), "'1x600'", "'0x600'", 1),
		fires{alertNoData, "severity: ticket, job: drover-proxy, instance: a", notes(alertNoData, "Proxy a cannot be scraped", "A campaign holds as long as one proxy tells nothing.")}))
	if err := os.WriteFile(filepath.Join(dir, "test.yaml"), []byte(cases.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "test", "rules", "test.yaml")
}
