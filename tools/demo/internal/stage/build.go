package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The programs.
const (
	proxyProgram    = "proxy"
	migratorProgram = "migrator"
	appProgram      = "sampleapp"
)

// Build builds the three programs into a folder. It must be called from within
// the source tree.
func Build(ctx context.Context, dir string) error {
	root, err := sourceTree(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), "./proxy", "./migrator", "./tools/sampleapp")
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command.Args, " "), err, output)
	}
	return nil
}

// sourceTree returns the root of Drover's sources.
func sourceTree(ctx context.Context) (string, error) {
	output, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("find the sources to build from (run the demo from within them, or give it --bin): %w", err)
	}
	path, dir, _ := strings.Cut(strings.TrimSpace(string(output)), " ")
	if path != "drover" {
		return "", fmt.Errorf("this is module %s: run the demo from within Drover's sources, or give it --bin", path)
	}
	return dir, nil
}
