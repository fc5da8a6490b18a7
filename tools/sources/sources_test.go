package sources

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestAProgramIsBuiltFromWithinTheSources(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	path, err := Program(t.Context(), dir, "tools/sampleapp", "-buildvcs=false")
	if err != nil {
		t.Fatal(err)
	}
	if path != filepath.Join(dir, "sampleapp") {
		t.Errorf("built %s", path)
	}
	said, err := exec.CommandContext(t.Context(), path, "schema", "--buckets", "64").Output()
	if err != nil || !strings.Contains(string(said), "% 64") {
		t.Errorf("it said %q, %v", said, err)
	}
}

func TestWhoIsNotWithinTheSourcesIsToldSo(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	if _, err := Root(t.Context()); err == nil || !strings.Contains(err.Error(), "from within") {
		t.Errorf("without a module: %v", err)
	}
	if err := os.WriteFile("go.mod", []byte("module other\n\ngo 1.26\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Build(t.Context(), folder, "migrator"); err == nil || !strings.Contains(err.Error(), "module other") {
		t.Errorf("within another module: %v", err)
	}
}

func TestAFailedBuildShowsWhatTheCompilerSaid(t *testing.T) {
	if err := Build(t.Context(), t.TempDir(), "no/such/program"); err == nil || !strings.Contains(err.Error(), "no/such/program") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Program(ctx, t.TempDir(), "migrator"); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
