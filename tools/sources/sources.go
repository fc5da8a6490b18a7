package sources

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const module = "drover"

// Root returns the root of Drover's sources. The working folder must be within
// them.
func Root(ctx context.Context) (string, error) {
	output, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("find Drover's sources (run this from within them): %w", err)
	}
	path, dir, _ := strings.Cut(strings.TrimSpace(string(output)), " ")
	if path != module {
		return "", fmt.Errorf("this is module %s: run this from within Drover's sources", path)
	}
	return dir, nil
}

// Build builds programs into a folder, which it makes if it is not there. A
// program is named by its folder in the sources, such as "migrator" or
// "tools/sampleapp", and its file has the last part of that name.
func Build(ctx context.Context, dir string, programs ...string) error {
	return build(ctx, dir, nil, programs)
}

// Program builds one program, as Build does, with flags for go build, and
// returns its path.
func Program(ctx context.Context, dir, program string, flags ...string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, filepath.Base(program)))
	if err != nil {
		return "", err
	}
	return path, build(ctx, dir, flags, []string{program})
}

func build(ctx context.Context, dir string, flags, programs []string) error {
	root, err := Root(ctx)
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil { // go build runs in another folder
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// The separator says that it is a folder, for one program too.
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, flags...)
	for _, p := range programs {
		args = append(args, "./"+p)
	}
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = root
	if output, err := command.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return nil
}
