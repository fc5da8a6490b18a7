package observability

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"drover/internal/catalog"
)

// dashboard is what is looked at of a dashboard of Grafana.
type dashboard struct {
	UID           string `json:"uid"`
	Title         string `json:"title"`
	Description   string `json:"description"`
	SchemaVersion int    `json:"schemaVersion"`
	Links         []link `json:"links"`
	Templating    struct {
		List []struct {
			Name, Type string
			Definition string
			Datasource struct{ UID string }
		}
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

type link struct{ Title, URL string }

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Datasource  struct{ Type, UID string }
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct {
				Steps []struct {
					Color string
					Value *float64
				}
			}
		}
	}
	Links   []link
	Targets []struct {
		RefID        string
		Expr         string
		LegendFormat string
		Datasource   struct{ Type, UID string }
	}
}

const (
	schemaVersionMin = 39 // Grafana 11
	gridWidth        = 24
	source           = "${datasource}"
)

func dashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	all := map[string]dashboard{}
	for _, path := range files(t, "../../configs/grafana/*.json") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[filepath.Base(path)] = d
	}
	return all
}

// filled puts something where Grafana puts the variables.
func filled(expr string) string {
	return regexp.MustCompile(`\$(datacenter|instance)\b`).ReplaceAllString(strings.ReplaceAll(expr, "$__rate_interval", "5m"), ".*")
}

var labelValues = regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)

func TestEveryDashboardIsOneThatGrafanaTakes(t *testing.T) {
	t.Parallel()
	metrics, uids := catalog.Read(t), map[string]string{}
	for file, d := range dashboards(t) {
		if d.SchemaVersion < schemaVersionMin || d.Title == "" || d.Description == "" || d.UID == "" || uids[d.UID] != "" {
			t.Errorf("%s: schema %d, title %q, description %q, uid %q", file, d.SchemaVersion, d.Title, d.Description, d.UID)
		}
		uids[d.UID] = file
		variables := map[string]string{}
		for _, v := range d.Templating.List {
			variables[v.Name] = v.Type
			if v.Type != "query" {
				continue
			}
			words := labelValues.FindStringSubmatch(v.Definition)
			if words == nil || v.Datasource.UID != source {
				t.Errorf("%s: the variable %s asks %q of %q", file, v.Name, v.Definition, v.Datasource.UID)
			} else if err := checkQuery(metrics, fmt.Sprintf("count by (%s) (%s)", words[2], words[1])); err != nil {
				t.Errorf("%s: the variable %s: %v", file, v.Name, err)
			}
		}
		if variables["datasource"] != "datasource" || variables["runbooks"] == "" || variables["instance"]+variables["datacenter"] == "" {
			t.Errorf("%s: its variables are %v", file, variables)
		}
		for _, name := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(exprs(d), -1) {
			if variables[name[1]] == "" && !strings.HasPrefix(name[1], "__") {
				t.Errorf("%s: no variable %q", file, name[1])
			}
		}
	}
}

func exprs(d dashboard) string {
	var b strings.Builder
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			b.WriteString(target.Expr + "\n")
		}
	}
	return b.String()
}

func TestPanelsHaveAPlaceOfTheirOwnAndAUnitAndSayWhatTheyShow(t *testing.T) {
	t.Parallel()
	for file, d := range dashboards(t) {
		ids, taken, titles := map[int]bool{}, map[[2]int]string{}, map[string]bool{}
		for _, p := range d.Panels {
			where := fmt.Sprintf("%s: %q", file, p.Title)
			if ids[p.ID] || p.ID == 0 || p.Title == "" || titles[p.Title] {
				t.Errorf("%s: the id %d or the title is there twice, or not at all", where, p.ID)
			}
			ids[p.ID], titles[p.Title] = true, true
			g := p.GridPos
			if g.X < 0 || g.Y < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > gridWidth {
				t.Errorf("%s: it is outside the grid, %+v", where, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other := taken[[2]int{x, y}]; other != "" {
						t.Fatalf("%s lies on %q", where, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
			if p.Type == "row" {
				continue
			}
			if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != source || len(p.Targets) == 0 {
				t.Errorf("%s: description %q, unit %q, datasource %q, %d queries", where, p.Description, p.FieldConfig.Defaults.Unit, p.Datasource.UID, len(p.Targets))
			}
			steps(t, where, p)
		}
	}
}

// steps checks a panel's thresholds: the first is the base, and they grow.
func steps(t *testing.T, where string, p panel) {
	t.Helper()
	last := 0.0
	for i, s := range p.FieldConfig.Defaults.Thresholds.Steps {
		switch {
		case (i == 0) != (s.Value == nil):
			t.Errorf("%s: the threshold %d is %v", where, i, s.Value)
		case s.Value != nil && *s.Value <= last:
			t.Errorf("%s: the thresholds do not grow", where)
		case s.Value != nil:
			last = *s.Value
		}
	}
}

func TestEveryPanelAsksForWhatThereIs(t *testing.T) {
	t.Parallel()
	metrics := catalog.Read(t)
	for file, d := range dashboards(t) {
		for _, p := range d.Panels {
			refs := map[string]bool{}
			for _, target := range p.Targets {
				if err := checkQuery(metrics, filled(target.Expr)); err != nil {
					t.Errorf("%s: %q: %v", file, p.Title, err)
				}
				if refs[target.RefID] || target.RefID == "" || target.Datasource.UID != source {
					t.Errorf("%s: %q: the query %q of %q", file, p.Title, target.RefID, target.Datasource.UID)
				}
				refs[target.RefID] = true
			}
		}
	}
}

func TestTheLinksOfPanelsLeadToRunbooksAndEveryAlertIsOnADashboard(t *testing.T) {
	t.Parallel()
	const base = "${runbooks}/"
	shown := map[string]bool{}
	for file, d := range dashboards(t) {
		all := d.Links
		for _, p := range d.Panels {
			all = append(all, p.Links...)
		}
		for _, l := range all {
			name, ok := strings.CutPrefix(l.URL, base)
			if !ok {
				continue
			}
			shown[strings.TrimSuffix(name, ".md")] = true
			if _, err := os.Stat(filepath.Join(runbooksDir, name)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	// What can be seen by nothing but the alert itself.
	for _, name := range []string{"DroverProxyPanic", "DroverProxyLogDrops", "DroverProxyWhitelistRefused", "DroverAppMapRefused",
		"DroverAppCacheErrors", "DroverAppCacheMarksFailed", "DroverAppShardListRefused"} {
		shown[name] = true
	}
	for name := range alerts(t) {
		if !shown[name] {
			t.Errorf("no panel links to the runbook of %s", name)
		}
	}
}
