package testservers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

const (
	consulModule   = "tools/consul"                // the module that has Consul as a tool, below the project's folder
	consulPackage  = "github.com/hashicorp/consul" // its main package
	consulLockFile = "consul.lock"                 // in the cache folder: held while Consul is built
)

// The oldest Consul that has what the tests need of one found on PATH.
const consulMajorMin, consulMinorMin = 1, 15

// ErrConsulMissing says that Consul is neither there nor can be built.
var ErrConsulMissing = errors.New("consul 1.15 or newer is needed")

// findOrBuildConsul returns the Consul program: one on PATH, or the one in the
// cache folder, which is built from source first if it is not there. That takes
// minutes, once.
func findOrBuildConsul(ctx context.Context, cache string, log func(string, ...any)) (string, error) {
	source := os.Getenv("DROVER_TESTSERVERS_SOURCE")
	if source == sourceAny || source == sourcePath {
		program, err := lookPath("consul")
		if err == nil {
			err = checkConsul(ctx, program)
		}
		if err == nil {
			return program, nil
		}
		if source == sourcePath {
			return "", fmt.Errorf("%w: put it on PATH: %w", ErrConsulMissing, err)
		}
	}
	module, err := findConsulModule()
	if err != nil {
		return "", err
	}
	program, err := consulProgram(cache, module)
	if err != nil || exists(program) {
		return program, err
	}
	if err := buildConsul(ctx, cache, module, program, log); err != nil {
		return "", fmt.Errorf("%w: build it from %s: %w", ErrConsulMissing, module, err)
	}
	return program, nil
}

// findConsulModule looks for the module from the working folder upwards: tests
// run in their package's folder.
func findConsulModule() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if module := filepath.Join(dir, consulModule); exists(filepath.Join(module, "go.sum")) {
			return module, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%w: no consul on PATH, and no %s in the working folder or above it: run this within the project's folder, or install Consul",
				ErrConsulMissing, consulModule)
		}
		dir = parent
	}
}

// consulProgram returns where the program of this module's versions is kept.
func consulProgram(cache, module string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.GOOS, runtime.GOARCH)
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		hash.Write(text)
	}
	return filepath.Join(cache, "consul", hex.EncodeToString(hash.Sum(nil)[:8]), "consul"), nil
}

// buildConsul builds the program under a lock and renames its folder into place
// complete. The compiler has the lock too: if this process is killed, the next
// one waits for the compiler's end and has what it compiled.
func buildConsul(ctx context.Context, cache, module, program string, log func(string, ...any)) error {
	buildLock, err := lock(ctx, filepath.Join(cache, consulLockFile))
	if err != nil {
		return err
	}
	defer buildLock.Close()
	if exists(program) {
		return nil
	}
	folder := filepath.Dir(program)
	partial := folder + ".partial"
	if err := errors.Join(os.RemoveAll(partial), os.MkdirAll(partial, 0o700)); err != nil {
		return err
	}
	log("building Consul into %s: this takes minutes, once", folder)
	built := filepath.Join(partial, filepath.Base(program))
	err = compileConsul(ctx, module, built, buildLock)
	if err == nil {
		err = checkConsul(ctx, built)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	return os.Rename(partial, folder)
}

func compileConsul(ctx context.Context, module, output string, buildLock *os.File) error {
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", output, consulPackage)
	command.Dir = module
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	command.ExtraFiles = []*os.File{buildLock}
	// The compiler has children; Ctrl-C ends all of them by the context.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	if text, err := command.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("go build %s: %w\n%s", consulPackage, err, tail(text))
	}
	return nil
}

var consulVersionWords = regexp.MustCompile(`^Consul v(\d+)\.(\d+)\.\S+`)

// checkConsul runs the program to ask for its version, and refuses what is no
// Consul or too old.
func checkConsul(ctx context.Context, program string) error {
	text, err := exec.CommandContext(ctx, program, "version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s version: %w\n%s", program, err, tail(text))
	}
	words := consulVersionWords.FindStringSubmatch(string(text))
	if words == nil {
		return fmt.Errorf("%s is not Consul: %s", program, strings.TrimSpace(string(text)))
	}
	major, _ := strconv.Atoi(words[1])
	minor, _ := strconv.Atoi(words[2])
	if major < consulMajorMin || major == consulMajorMin && minor < consulMinorMin {
		return fmt.Errorf("%s is %s: want %d.%d or newer", program, words[0], consulMajorMin, consulMinorMin)
	}
	return nil
}
