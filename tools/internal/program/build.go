package program

import (
	"context"
	_ "embed" // halt.go.txt
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"drover/tools/sources"
)

//go:embed halt.go.txt
var haltSource string

// changes are what differs from the migrator's crash points as they ship.
var changes = [][2]string{
	{"_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)\n\t\tselect {}", "halt(p, syscall.SIGKILL)"},
	{"c.seen[p]++\n", "c.seen[p]++\n\ttold(p)\n"},
}

// Build builds the migrator into dir and returns its path. It must be called
// from within the source tree.
func Build(ctx context.Context, dir string) (string, error) {
	path, err := build(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("build the migrator: %w", err)
	}
	return path, nil
}

func build(ctx context.Context, dir string) (string, error) {
	root, err := sources.Root(ctx)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(root, "migrator", "internal", "crash")
	shipped, err := os.ReadFile(filepath.Join(folder, "crash.go"))
	if err != nil {
		return "", err
	}
	source := string(shipped)
	for _, c := range changes {
		if strings.Count(source, c[0]) != 1 {
			return "", fmt.Errorf("migrator/internal/crash/crash.go has no single %q: bring tools/internal/program up to date", c[0])
		}
		source = strings.Replace(source, c[0], c[1], 1)
	}
	replace := map[string]string{}
	for name, text := range map[string]string{"crash.go": source, "halt.go": haltSource} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(folder, name)] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	return sources.Program(ctx, dir, "migrator", "-overlay", list)
}
