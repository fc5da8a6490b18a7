package observability

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"drover/internal/catalog"
	"drover/tools/testservers"
)

const (
	alertsDir   = "../../configs/alerts"
	runbooksDir = "../../docs/runbooks"
)

// alert is one rule of a file.
type alert struct {
	Alert       string
	Expr        string
	For         string
	Labels      map[string]string
	Annotations map[string]string
}

type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []alert
	}
}

// ruleTests is what promtool test rules reads.
type ruleTests struct {
	RuleFiles          []string `yaml:"rule_files"`
	EvaluationInterval string   `yaml:"evaluation_interval"`
	Tests              []struct {
		Name        string
		Interval    string
		InputSeries []struct{ Series, Values string } `yaml:"input_series"`
		Alerts      []struct {
			At    string           `yaml:"eval_time"`
			Alert string           `yaml:"alertname"`
			Want  []map[string]any `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

// strict reads a file in which every key must be known.
func strict(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no files, %v", pattern, err)
	}
	return paths
}

// alerts reads every alert, by name.
func alerts(t *testing.T) map[string]alert {
	t.Helper()
	all := map[string]alert{}
	for _, path := range files(t, alertsDir+"/*.yaml") {
		var f ruleFile
		strict(t, path, &f)
		for _, g := range f.Groups {
			for _, a := range g.Rules {
				if _, twice := all[a.Alert]; twice {
					t.Errorf("%s: %s is there twice", path, a.Alert)
				}
				all[a.Alert] = a
			}
		}
	}
	return all
}

func TestEveryAlertAsksForWhatThereIsAndHasARunbook(t *testing.T) {
	t.Parallel()
	metrics := catalog.Read(t)
	for name, a := range alerts(t) {
		if !strings.HasPrefix(name, "Drover") {
			t.Errorf("%s: the names of alerts begin with Drover", name)
		}
		if err := checkQuery(metrics, a.Expr); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s := a.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity %q, want page or ticket", name, s)
		}
		if a.Annotations["summary"] == "" || a.Annotations["runbook"] != "docs/runbooks/"+name+".md" {
			t.Errorf("%s: annotations %v; want a summary, and runbook: docs/runbooks/%s.md", name, a.Annotations, name)
		}
		if _, err := os.Stat(filepath.Join(runbooksDir, name+".md")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryAlertHasATestInWhichItFiresAndOneInWhichItDoesNot(t *testing.T) {
	t.Parallel()
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, path := range files(t, alertsDir+"/tests/*.yaml") {
		var f ruleTests
		strict(t, path, &f)
		for _, test := range f.Tests {
			for _, a := range test.Alerts {
				if len(a.Want) == 0 {
					quiet[a.Alert] = true
				} else {
					fires[a.Alert] = true
				}
			}
		}
	}
	for name := range alerts(t) {
		if !fires[name] || !quiet[name] {
			t.Errorf("%s: fires in a test: %t, does not in another: %t", name, fires[name], quiet[name])
		}
	}
}

func TestPromtoolTakesEveryRuleAndItsTestsPass(t *testing.T) {
	t.Parallel()
	programs, err := testservers.InstallPrometheus(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	rules := files(t, alertsDir+"/*.yaml")
	tests := files(t, alertsDir+"/tests/*.yaml")
	if len(rules) != len(tests) {
		t.Errorf("%d files of rules and %d of tests", len(rules), len(tests))
	}
	for _, args := range [][]string{
		append([]string{"check", "rules"}, rules...),
		append([]string{"test", "rules"}, tests...),
	} {
		if output, err := exec.CommandContext(t.Context(), programs.Promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args[:2], " "), err, output)
		}
	}
}

// headings are what every runbook answers, in this order.
var headings = []string{"What it means", "Who is hurt", "Look", "Do", "Turn back"}

var (
	headingLine = regexp.MustCompile(`(?m)^## (.+)$`)
	linkTarget  = regexp.MustCompile(`\]\(([^)#]+)`)
	nameOfAlert = regexp.MustCompile(`\bDrover[A-Z][A-Za-z]+\b`)
)

// generated finds the alerts that migrator slo rules writes, in its source.
func generated(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../migrator/internal/slo/rules.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, found := range regexp.MustCompile(`= "(DroverSLO\w+)"`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, found[1])
	}
	if len(names) == 0 {
		t.Fatal("the source of migrator slo rules names no alert")
	}
	return names
}

func TestEveryRunbookIsOfAnAlertAndItsLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	all := alerts(t)
	for _, name := range generated(t) {
		all[name] = alert{}
		if _, err := os.Stat(filepath.Join(runbooksDir, name+".md")); err != nil {
			t.Errorf("%s, which migrator slo rules writes: %v", name, err)
		}
	}
	for _, path := range files(t, runbooksDir+"/*.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".md")
		if _, ok := all[name]; !ok && name != "README" {
			t.Errorf("%s: there is no such alert", path)
		}
		var have []string
		for _, h := range headingLine.FindAllStringSubmatch(string(text), -1) {
			have = append(have, h[1])
		}
		if name != "README" && !slices.Equal(have, headings) {
			t.Errorf("%s: its headings are %q, want %q", path, have, headings)
		}
		for _, l := range linkTarget.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(runbooksDir, l[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		for _, word := range nameOfAlert.FindAllString(string(text), -1) {
			if _, ok := all[word]; !ok {
				t.Errorf("%s names %s, and there is no such alert", path, word)
			}
		}
	}
}

func TestTheListOfRunbooksHasEveryAlert(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(runbooksDir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range alerts(t) {
		if !strings.Contains(string(text), "| ["+name+"]("+name+".md) | "+a.Labels["severity"]+" |") {
			t.Errorf("README.md has not %s with its severity, %s", name, a.Labels["severity"])
		}
	}
}
