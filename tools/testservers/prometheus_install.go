package testservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

const (
	prometheusPackage  = "prometheus"      // Debian's and Ubuntu's; promtool is in it
	prometheusLockFile = "prometheus.lock" // in the cache folder: held while it is unpacked

	// The oldest Prometheus that has keep_firing_for, and whose promtool knows it.
	prometheusMajorMin, prometheusMinorMin = 2, 42
)

// ErrNoPrometheus says that Prometheus is neither there nor installable.
var ErrNoPrometheus = errors.New("prometheus and promtool, 2.42 or newer, are needed")

// PrometheusPrograms are the paths of Prometheus' programs.
type PrometheusPrograms struct {
	Prometheus string
	Promtool   string
}

// InstallPrometheus finds Prometheus and promtool on PATH, or unpacks them from
// their package into the cache folder, which takes no rights, and returns where
// they are. Any number of processes may call it at once.
func InstallPrometheus(ctx context.Context, log func(format string, args ...any)) (PrometheusPrograms, error) {
	cache, err := cacheFolder()
	if err != nil {
		return PrometheusPrograms{}, err
	}
	return installPrometheus(ctx, cache, log)
}

// installPrometheus never leaves it to apt-get install, but where that is asked
// for: the package would bring a service, an account and the libraries of a web
// page that nobody looks at here.
func installPrometheus(ctx context.Context, cache string, log func(string, ...any)) (PrometheusPrograms, error) {
	source := os.Getenv("DROVER_TESTSERVERS_SOURCE")
	if source == sourceAny || source == sourcePath {
		found, err := prometheusOnPath(ctx)
		if err == nil || source == sourcePath {
			return found, err
		}
	}
	for _, tool := range []string{"apt-get", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			return PrometheusPrograms{}, fmt.Errorf("%w: put them on PATH (this machine has no %s, so it cannot be done for you)", ErrNoPrometheus, tool)
		}
	}
	if source == sourceApt {
		if err := aptInstall(ctx, cache, log, prometheusPackage); err != nil {
			return PrometheusPrograms{}, fmt.Errorf("%w: %w", ErrNoPrometheus, err)
		}
		return prometheusOnPath(ctx)
	}
	found, err := unpackPrometheus(ctx, cache, log)
	if err != nil {
		return PrometheusPrograms{}, fmt.Errorf("%w: run apt-get install %s as root: %w", ErrNoPrometheus, prometheusPackage, err)
	}
	return found, nil
}

func prometheusOnPath(ctx context.Context) (found PrometheusPrograms, err error) {
	if found.Prometheus, err = lookPath("prometheus"); err == nil {
		found.Promtool, err = lookPath("promtool")
	}
	if err == nil {
		err = found.check(ctx)
	}
	if err != nil {
		return PrometheusPrograms{}, fmt.Errorf("%w: %w", ErrNoPrometheus, err)
	}
	return found, nil
}

// unpackPrometheus unpacks the package below the cache folder, under a lock, and
// renames the folder into place complete.
func unpackPrometheus(ctx context.Context, cache string, log func(string, ...any)) (PrometheusPrograms, error) {
	system, err := systemName(ctx)
	if err != nil {
		return PrometheusPrograms{}, err
	}
	root := filepath.Join(cache, "prometheus", system)
	found := prometheusBelow(root)
	return found, makeOnce(ctx, filepath.Join(cache, prometheusLockFile), root, func(partial string) error {
		log("unpacking Prometheus into %s", root)
		err := unpackPackages(ctx, root+".downloads", partial, log, func(apt aptClient) error {
			_, err := apt.run(ctx, "apt-get", "-q", "download", prometheusPackage)
			return err
		})
		if err == nil {
			err = prometheusBelow(partial).check(ctx)
		}
		return err
	})
}

func prometheusBelow(root string) PrometheusPrograms {
	return PrometheusPrograms{filepath.Join(root, "usr/bin/prometheus"), filepath.Join(root, "usr/bin/promtool")}
}

var prometheusVersionWords = regexp.MustCompile(`(?:prometheus|promtool), version (\d+)\.(\d+)\.\S+`)

// check runs the programs to ask for their versions, and refuses what is too old.
func (p PrometheusPrograms) check(ctx context.Context) error {
	for _, program := range []string{p.Prometheus, p.Promtool} {
		text, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s --version: %w\n%s", program, err, tail(text))
		}
		words := prometheusVersionWords.FindStringSubmatch(string(text))
		if words == nil {
			return fmt.Errorf("%s is not of Prometheus: %s", program, strings.TrimSpace(string(text)))
		}
		major, _ := strconv.Atoi(words[1])
		minor, _ := strconv.Atoi(words[2])
		if major < prometheusMajorMin || major == prometheusMajorMin && minor < prometheusMinorMin {
			return fmt.Errorf("%s is %s: want %d.%d or newer", program, words[0], prometheusMajorMin, prometheusMinorMin)
		}
	}
	return nil
}
