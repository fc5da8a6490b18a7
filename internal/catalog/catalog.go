// Package catalog keeps docs/metrics.md: every metric that a program has, with
// its labels and, where they are a closed set, the labels' values.
//
// A test of the package that declares metrics calls Check with the registry that
// it declared them in, each with at least one series. The page is then right, or
// the test fails; with update the page is written anew. What names metrics
// elsewhere, dashboards and alerts, is compared with what Read returns.
//
// The package is for tests. Two that write the page must not run at once.
package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Metric is one metric.
type Metric struct {
	Name, Type, Help string
	Labels           []Label
}

// Label is a label of a metric.
type Label struct {
	Name   string
	Values []string // nil: any
}

// Label finds a label by its name.
func (m Metric) Label(name string) (Label, bool) {
	for _, l := range m.Labels {
		if l.Name == name {
			return l, true
		}
	}
	return Label{}, false
}

// page is from the project's folder.
const page = "docs/metrics.md"

// Check compares the program's part of the page with what the registry has, or
// writes it. The values of labels that are open are the installation's, such as
// datacenters.
func Check(t testing.TB, program string, update bool, registry *prometheus.Registry, open ...string) {
	t.Helper()
	metrics, err := of(registry, open)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, program, update, metrics)
}

// CheckDescribed is Check for a collector that has series only while it works:
// the metrics are those that it describes. Types are by the metrics' names, and
// values, of labels that are closed sets, by the labels'.
func CheckDescribed(t testing.TB, program string, update bool, c prometheus.Collector, types map[string]string, values map[string][]string) {
	t.Helper()
	var metrics []Metric
	for _, d := range descriptions(c.Describe) {
		m := Metric{Name: d.name, Type: types[d.name], Help: d.help}
		if m.Type == "" {
			t.Fatalf("say of which type %s is", m.Name)
		}
		for _, l := range d.labels {
			sorted := slices.Clone(values[l])
			slices.Sort(sorted)
			m.Labels = append(m.Labels, Label{l, sorted})
		}
		metrics = append(metrics, m)
	}
	slices.SortFunc(metrics, func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	compare(t, program, update, metrics)
}

// compare compares the program's part of the page, or writes it.
func compare(t testing.TB, program string, update bool, metrics []Metric) {
	t.Helper()
	path := filepath.Join(Root(t), page)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- begin %s -->\n", program), fmt.Sprintf("<!-- end %s -->\n", program)
	before, rest, ok1 := strings.Cut(string(text), begin)
	have, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no part between %q and %q", page, begin, end)
	}
	want := table(metrics)
	if have == want {
		return
	}
	if !update {
		t.Fatalf("%s is not what %s has: run make docs", page, program)
	}
	if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Root is the project's folder: the one above the working folder that has go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod in the working folder or above it")
		}
		dir = filepath.Dir(dir)
	}
}

// description is what a Desc says of itself: it has no other way.
type description struct {
	name, help string
	labels     []string
}

var described = regexp.MustCompile(`fqName: "([a-z0-9_]+)", help: ("(?:[^"\\]|\\.)*"), .*variableLabels: \{([^}]*)\}`)

// descriptions calls describe and reads what it gives.
func descriptions(describe func(chan<- *prometheus.Desc)) []description {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		describe(descs)
	}()
	var all []description
	for d := range descs {
		words := described.FindStringSubmatch(d.String())
		if words == nil {
			continue
		}
		one := description{name: words[1]}
		one.help, _ = strconv.Unquote(words[2])
		if words[3] != "" {
			one.labels = strings.Split(words[3], ",")
		}
		all = append(all, one)
	}
	return all
}

// of lists what a registry has.
func of(registry *prometheus.Registry, open []string) ([]Metric, error) {
	families, err := registry.Gather()
	if err != nil {
		return nil, err
	}
	metrics, there := make([]Metric, 0, len(families)), map[string]bool{}
	for _, f := range families {
		m := Metric{Name: f.GetName(), Type: strings.ToLower(f.GetType().String()), Help: f.GetHelp()}
		for _, l := range f.GetMetric()[0].GetLabel() {
			label := Label{Name: l.GetName()}
			if !slices.Contains(open, label.Name) {
				label.Values = values(f, label.Name)
			}
			m.Labels = append(m.Labels, label)
		}
		if h := f.GetMetric()[0].GetHistogram(); h != nil {
			bounds := Label{Name: "le"}
			for _, b := range h.GetBucket() {
				bounds.Values = append(bounds.Values, strconv.FormatFloat(b.GetUpperBound(), 'g', -1, 64))
			}
			m.Labels = append(m.Labels, bounds)
		}
		metrics, there[m.Name] = append(metrics, m), true
	}
	var none []string
	for _, d := range descriptions(registry.Describe) {
		if !there[d.name] {
			none = append(none, d.name)
		}
	}
	if len(none) != 0 {
		return nil, fmt.Errorf("%s have no series: make one of each before the registry is compared with the page", strings.Join(none, ", "))
	}
	return metrics, nil
}

func values(f *dto.MetricFamily, label string) []string {
	var all []string
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label && !slices.Contains(all, l.GetValue()) {
				all = append(all, l.GetValue())
			}
		}
	}
	slices.Sort(all)
	return all
}

// table draws metrics; Read reads them back.
func table(metrics []Metric) string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | what it says |\n| --- | --- | --- | --- |\n")
	for _, m := range metrics {
		labels := make([]string, len(m.Labels))
		for i, l := range m.Labels {
			labels[i] = "`" + l.Name + "`"
			if l.Values != nil {
				labels[i] += ": `" + strings.Join(l.Values, "` `") + "`"
			}
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, strings.Join(labels, "; "), strings.ReplaceAll(m.Help, "|", `\|`))
	}
	return b.String()
}

var quoted = regexp.MustCompile("`([^`]+)`")

// Read reads the page: metrics by their names.
func Read(t testing.TB) map[string]Metric {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Root(t), page))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Metric{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `") || len(cells) < 4 {
			continue
		}
		m := Metric{Name: quoted.FindStringSubmatch(cells[0])[1], Type: cells[1], Help: strings.TrimSuffix(strings.TrimSpace(cells[3]), " |")}
		for part := range strings.SplitSeq(cells[2], "; ") {
			words := quoted.FindAllStringSubmatch(part, -1)
			if len(words) == 0 {
				continue
			}
			label := Label{Name: words[0][1]}
			for _, w := range words[1:] {
				label.Values = append(label.Values, w[1])
			}
			m.Labels = append(m.Labels, label)
		}
		all[m.Name] = m
	}
	if len(all) == 0 {
		t.Fatalf("%s lists no metric: run make docs", page)
	}
	return all
}
