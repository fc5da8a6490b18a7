package campaign

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

const page = "../../../docs/campaign.md"

func TestThePageListsEveryMetricStateAndKeyOfTheModel(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	must(t, err)
	registry := prometheus.NewPedanticRegistry()
	NewMetrics(registry)
	families, err := registry.Gather()
	must(t, err)
	var want, have []string
	for _, f := range families {
		want = append(want, f.GetName())
	}
	for _, found := range regexp.MustCompile("(?m)^\\| `(drover_campaign_[a-z_]+)").FindAllStringSubmatch(string(text), -1) {
		have = append(have, found[1])
	}
	if !slices.Equal(have, want) {
		t.Errorf("the page lists\n%v\nand the code has\n%v", have, want)
	}
	for _, state := range StepStates() {
		var next []string
		for _, s := range NextStep[state] {
			next = append(next, string(s))
		}
		row := strings.TrimRight("| "+string(state)+" | "+strings.Join(next, ", "), " ") + " |"
		if !strings.Contains(string(text), row) {
			t.Errorf("the page has no row %q", row)
		}
	}
	_, model, _ := strings.Cut(string(text), "```yaml\n")
	model, _, _ = strings.Cut(model, "```")
	path := filepath.Join(t.TempDir(), "model.yaml")
	must(t, os.WriteFile(path, []byte(model), 0o600))
	m, err := LoadModel(path)
	must(t, err)
	m.InstanceFailures = DefaultModel().InstanceFailures // it is rounded on the page
	if m != DefaultModel() {
		t.Errorf("the page's model is %+v", m)
	}
}
