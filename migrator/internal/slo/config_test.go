package slo

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/internal/config"
)

// load reads the section slo of a configuration, strictly, as the migrator does.
func load(text string) (Config, error) {
	file := struct {
		SLO Config `yaml:"slo"`
	}{Default()}
	if err := config.Decode([]byte(text), &file); err != nil {
		return Config{}, err
	}
	return file.SLO, file.SLO.Validate()
}

// write makes a file.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "migrator.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheExampleOfTheDocumentationIsRead(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/slo.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, found := strings.Cut(example, "```")
	if !found {
		t.Fatal("no example in docs/slo.md")
	}
	c, err := load(example)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Objectives) != 2 || c.Objectives[0].MinEvents != DefaultMinEvents || c.Windows.Scale != 1 || len(c.Windows.Ticket) != 2 ||
		c.Objectives[0].Unanswered != unansweredIgnored {
		t.Errorf("%+v", c)
	}
}

func TestAddressesAreReadInEveryNotation(t *testing.T) {
	t.Parallel()
	const rest = "\n  objectives: [{name: a, kind: availability, target: 0.9}]\n"
	urls := []string{"http://127.0.0.1:9901/metrics", "https://[::1]:9902/metrics?a=b:c", "http://edge/metrics"}
	for _, text := range []string{
		"slo:\n  source: {kind: proxies, urls: [http://127.0.0.1:9901/metrics, \"https://[::1]:9902/metrics?a=b:c\", http://edge/metrics]}" + rest,
		"slo:\n  source:\n    kind: proxies\n    urls: [http://127.0.0.1:9901/metrics, 'https://[::1]:9902/metrics?a=b:c', http://edge/metrics]" + rest,
		"slo:\n  source:\n    kind: proxies\n    urls:\n      - http://127.0.0.1:9901/metrics\n      - https://[::1]:9902/metrics?a=b:c\n      - http://edge/metrics" + rest,
	} {
		c, err := load(text)
		if err != nil || !slices.Equal(c.Source.URLs, urls) || c.Source.Timeout != Default().Source.Timeout {
			t.Errorf("%s%+v, %v", text, c.Source, err)
		}
	}
	for _, text := range []string{"{kind: prometheus, url: http://127.0.0.1:9090}", "{kind: prometheus, url: http://127.0.0.1:9090/x, selector: 'a=\"b\"'}"} {
		if c, err := load("slo:\n  source: " + text + rest); err != nil || !strings.HasPrefix(c.Source.URL, "http://127.0.0.1:9090") {
			t.Errorf("%s: %+v, %v", text, c.Source, err)
		}
	}
}

func TestMistakesAreRefusedWithTheirKey(t *testing.T) {
	t.Parallel()
	const source = "source: {kind: proxies, urls: [http://a/metrics]}"
	for name, c := range map[string]struct{ text, say string }{
		"unknown key":    {"slo: {" + source + ", promises: []}\n", "promises"},
		"unknown deeper": {"slo: {" + source + ", objectives: [{name: a, kind: availability, target: 0.9, min_event: 3}]}\n", "min_event"},
		"no objectives":  {"slo: {" + source + "}\n", "slo.objectives: 0"},
		"no source":      {"slo: {objectives: [{name: a, kind: availability, target: 0.9}]}\n", "slo.source.kind"},
		"not a duration": {"slo: {" + source + ", objectives: [{name: a, kind: latency, target: 0.9, threshold: 5}]}\n", "time.Duration"},
		"not a bound":    {"slo: {" + source + ", objectives: [{name: a, kind: latency, target: 0.9, threshold: 300ms}]}\n", "250ms, 500ms, 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := load(c.text); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("got %v: want %q in it", err, c.say)
			}
		})
	}
}

func TestEveryProblemIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	good := func() Config {
		c := Default()
		c.Source.Kind, c.Source.URLs = KindProxies, []string{"http://127.0.0.1:9901/metrics"}
		c.Objectives = []Objective{availability(), latency()}
		c.Objectives[0].standard()
		return c
	}
	c := good()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	standard := Default()
	if err := standard.Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	all := good()
	var keys []string
	for keyOf, change := range map[string]func(c *Config){
		"slo.source.urls[1]":               func(c *Config) { c.Source.URLs = append(c.Source.URLs, c.Source.URLs[0]) },
		"slo.source.urls[2]":               func(c *Config) { c.Source.URLs = append(c.Source.URLs[:2:2], "127.0.0.1:9901") },
		"slo.source.timeout":               func(c *Config) { c.Source.Timeout = 0 },
		"slo.source.answer_max":            func(c *Config) { c.Source.AnswerMax = 1 },
		"slo.source.url":                   func(c *Config) { c.Source.URL = "http://a" },
		"slo.interval":                     func(c *Config) { c.Interval = time.Hour },
		"slo.significance":                 func(c *Config) { c.Significance = math.NaN() },
		"slo.windows.page[0].short":        func(c *Config) { c.Windows.Page = []Pair{{1, time.Hour, time.Hour}} },
		"slo.windows.ticket[0].burn":       func(c *Config) { c.Windows.Ticket = []Pair{{math.Inf(1), time.Hour, time.Minute}} },
		"slo.objectives[0].target":         func(c *Config) { c.Objectives[0].Target = 1 },
		"slo.objectives[0].threshold":      func(c *Config) { c.Objectives[0].Threshold = time.Second },
		"slo.objectives[0].cohorts[0]":     func(c *Config) { c.Objectives[0].Cohorts = []Cohort{"some"} },
		"slo.objectives[1].name":           func(c *Config) { c.Objectives[1].Name = c.Objectives[0].Name },
		"slo.objectives[1].min_events":     func(c *Config) { c.Objectives[1].MinEvents = 0 },
		"slo.objectives[1].datacenters[0]": func(c *Config) { c.Objectives[1].Datacenters = []string{"none"} },
	} {
		if keyOf != "slo.source.urls[2]" {
			change(&all)
			keys = append(keys, keyOf)
		}
	}
	var invalid *config.InvalidError
	if err := all.Validate(); !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	for _, k := range keys {
		if !slices.ContainsFunc(invalid.Problems, func(p config.Problem) bool { return p.Key == k }) {
			t.Errorf("%s is not in %v", k, invalid)
		}
	}
	for _, bad := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		c := good()
		c.Windows.Scale = bad
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "slo.windows.scale") {
			t.Errorf("scale %v: %v", bad, err)
		}
		c = good()
		c.Objectives[0].Target = bad
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "target") {
			t.Errorf("target %v: %v", bad, err)
		}
	}
}

func TestTheBoundsAreThoseOfTheEdge(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../proxy/internal/metrics/histogram.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "requestBounds = bounds{")
	list, _, _ = strings.Cut(list, "}")
	unit := map[string]time.Duration{"": 1, "time.Second": time.Second, "time.Millisecond": time.Millisecond, "time.Microsecond": time.Microsecond}
	var bounds []time.Duration
	for _, m := range regexp.MustCompile(`(?:(\d+) \* )?(time\.\w+)`).FindAllStringSubmatch(list, -1) {
		n := time.Duration(1)
		if m[1] != "" {
			n = 0
			for _, digit := range m[1] {
				n = 10*n + time.Duration(digit-'0')
			}
		}
		bounds = append(bounds, time.Duration(int64(n)*int64(unit[m[2]])))
	}
	if !slices.Equal(bounds, Bounds()) {
		t.Errorf("the edge has %v, and these are %v", bounds, Bounds())
	}
}

func FuzzParse(f *testing.F) {
	p := newFakeProxy(f, "legacy", "cloud")
	p.add("cloud", Moved, users{good: 5, failed: 1, slow: 3})
	f.Add(p.page())
	f.Add("# TYPE drover_proxy_request_seconds histogram\ndrover_proxy_request_seconds_bucket{datacenter=\"a\",le=\"0.25\"} NaN\n")
	c := Default()
	c.Objectives = []Objective{availability(), latency()}
	f.Fuzz(func(t *testing.T, text string) {
		page, err := c.parse([]byte(text), time.Unix(1_700_000_000, 0))
		if err != nil {
			return
		}
		for k, n := range page.counts {
			if !(n.bad >= 0 && n.events >= n.bad && n.events <= math.MaxFloat64) {
				t.Errorf("%v: %v", k, n)
			}
		}
	})
}
