package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"drover/migrator/internal/slo"
)

// sloConfig is a configuration with more sections.
func sloConfig(t *testing.T, more string) (*Config, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "migrator.yaml")
	write(t, path, "map: {store: file, dir: m}\nshards: s\naccount: {user: u}\ntables: [{name: a, user_column: u}]\n"+more)
	c, err := Load(path)
	return c, filepath.Dir(path), err
}

func TestTheObjectivesAreASectionWithItsDefaultsAndPaths(t *testing.T) {
	c, _, err := sloConfig(t, "")
	if err != nil || !c.SLO.Empty() || !reflect.DeepEqual(c.SLO, slo.Default()) {
		t.Errorf("without a section: %+v, %v", c, err)
	}
	text, err := os.ReadFile("../../../docs/slo.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	example = strings.Replace(example, "kind: proxies ", "token_file: token\n    kind: proxies ", 1)
	c, dir, err := sloConfig(t, example)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.SLO.Objectives) != 2 || c.SLO.Objectives[0].MinEvents != slo.DefaultMinEvents || c.SLO.Source.Timeout != 5*time.Second ||
		c.SLO.Source.TokenFile != filepath.Join(dir, "token") || len(c.SLO.Windows.Ticket) != 2 {
		t.Errorf("%+v", c.SLO)
	}
}

func TestTheExampleConfigurationHasTheObjectivesOfTheDocumentation(t *testing.T) {
	path := example(t, "migrator.yaml")
	dir := filepath.Dir(path)
	for _, name := range []string{"app-password", "replica-password"} {
		write(t, filepath.Join(dir, name), "secret\n")
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := slo.Default()
	want.Source.Kind, want.Source.URLs, want.Objectives = c.SLO.Source.Kind, c.SLO.Source.URLs, c.SLO.Objectives
	if len(c.SLO.Objectives) != 2 || !reflect.DeepEqual(c.SLO, want) {
		t.Errorf("the example's section is %+v, and the defaults %+v", c.SLO, want)
	}
}

func TestMistakesInTheObjectivesAreRefusedWithTheirKeysAndTheOthers(t *testing.T) {
	const source = "source: {kind: proxies, urls: [http://a/metrics]}"
	for name, c := range map[string]struct {
		text string
		says []string
	}{
		"an unknown key":    {"slo: {" + source + ", promises: []}\n", []string{"promises", "[5:"}},
		"an unknown one in": {"slo:\n  source: {kind: proxies, urls: [http://a/metrics], retries: 3}\n", []string{"retries"}},
		"a mistyped event":  {"slo: {" + source + ", objectives: [{name: a, kind: availability, target: 0.9, min_event: 3}]}\n", []string{"min_event"}},
		"no objectives":     {"slo: {" + source + "}\n", []string{"slo.objectives"}},
		"no source":         {"slo: {objectives: [{name: a, kind: availability, target: 0.9}]}\n", []string{"slo.source.kind"}},
		"all at once": {"slo: {" + source + ", significance: 0, objectives: [{name: a, kind: latency, target: 2, threshold: 300ms}]}\nmove: {freeze_tries: 0}\n",
			[]string{"slo.significance", "slo.objectives[0].target", "slo.objectives[0].threshold", "move.freeze_tries"}},
		"windows":       {"slo: {windows: {scale: .nan}}\n", []string{"slo.windows.scale"}},
		"not a section": {"slo: yes\n", []string{"[5:"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := sloConfig(t, c.text)
			if err == nil {
				t.Fatal("no error")
			}
			for _, words := range c.says {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%v: want %q in it", err, words)
				}
			}
		})
	}
}
