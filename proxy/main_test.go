package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := command()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestCheckSaysEverythingThatIsWrong(t *testing.T) {
	for _, name := range []string{"proxy.minimal.yaml", "proxy.full.yaml"} {
		if out, err := execute(t, "check", "--files=false", filepath.Join("..", "configs", name)); err != nil || out != "ok\n" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
	_, err := execute(t, "check", filepath.Join("..", "configs", "proxy.full.yaml"))
	if err == nil || !strings.Contains(err.Error(), "listeners[1].tls.certificates[0].cert: ") {
		t.Errorf("its files are not there: %v", err)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	writeFile(t, bad, "listen: x\nlog: {level: loud}\n")
	_, err = execute(t, "check", bad)
	if err == nil {
		t.Fatal("want an error")
	}
	for _, key := range []string{"listen", "log.level", "map.dir", "identity", "datacenters"} {
		if !strings.Contains(err.Error(), key+": ") {
			t.Errorf("no word of %s in %v", key, err)
		}
	}
}

func TestRunWantsAConfiguration(t *testing.T) {
	for _, args := range [][]string{{}, {"run"}} {
		if _, err := execute(t, args...); err == nil || !strings.Contains(err.Error(), "config") {
			t.Errorf("%v: got %v", args, err)
		}
		if _, err := execute(t, append(args, "--config", "/nowhere.yaml")...); err == nil || !strings.Contains(err.Error(), "/nowhere.yaml") {
			t.Errorf("%v: got %v", args, err)
		}
	}
}

func TestTheEdgeLinksNoDatabaseAndNothingOfTheOtherPrograms(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		for _, banned := range []string{"drover/shardlib", "drover/migrator", "drover/tools", "drover/bench"} {
			if pkg == banned || strings.HasPrefix(pkg, banned+"/") {
				t.Errorf("it links %s", pkg)
			}
		}
		if strings.Contains(pkg, "mysql") {
			t.Errorf("it links %s", pkg)
		}
	}
}
