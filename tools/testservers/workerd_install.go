package testservers

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// workerd comes from the npm registry: the package of this platform has the
// program, and needs no node. What is downloaded is known by its hash, so it
// does not matter from where it came.
const (
	workerdVersion  = "1.20261117.1"
	workerdLockFile = "workerd.lock" // in the cache folder: held while it is installed
	workerdMember   = "package/bin/workerd"

	npmRegistryDefault = "https://registry.npmjs.org/"

	workerdTarballMax = 256 << 20 // bytes; the program is 45 MiB compressed
	workerdProgramMax = 1 << 30
	workerdTriesMax   = 3
	workerdTryWaitMax = 5 * time.Minute
)

// ErrNoWorkerd says that workerd is neither there nor installable.
var ErrNoWorkerd = errors.New("workerd is needed")

// workerdPackage returns this platform's package, and the SHA-512 of its tarball
// as the registry's "integrity" has it.
func workerdPackage() (name, hash string, err error) {
	switch platform := runtime.GOOS + "/" + runtime.GOARCH; platform {
	case "linux/amd64":
		return "workerd-linux-64", "gZLA8X11m/luZwn+YA3+mDu61vdxNJzpksP/QZqjydKTQ+VUCulsK5gtn9Bqst1p3KJu2kafQpJ1nDQv4B23jA==", nil
	case "linux/arm64":
		return "workerd-linux-arm64", "gxWngFojq41ULKNKb9rpWYvKotN5hT2I/xot+Bpy31cXzrwcTgtDLSMb2t75sW5BJxH7hihFvikgYb577kB3Zg==", nil
	default:
		return "", "", fmt.Errorf("%w: there is no package for %s here: put workerd %s on PATH", ErrNoWorkerd, platform, workerdVersion)
	}
}

// InstallWorkerd finds workerd or installs it into the cache folder, and returns
// its path. Any number of processes may call it at once.
func InstallWorkerd(ctx context.Context, log func(format string, args ...any)) (string, error) {
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	return installWorkerd(ctx, cache, log)
}

func installWorkerd(ctx context.Context, cache string, log func(string, ...any)) (string, error) {
	if os.Getenv("DROVER_TESTSERVERS_SOURCE") == sourcePath {
		return lookPath("workerd")
	}
	name, hash, err := workerdPackage()
	if err != nil {
		if program, failure := lookPath("workerd"); failure == nil {
			return program, nil
		}
		return "", err
	}
	program := filepath.Join(cache, name+"-"+workerdVersion)
	if exists(program) {
		return program, nil
	}
	file, err := lock(ctx, filepath.Join(cache, workerdLockFile))
	if err != nil {
		return "", err
	}
	defer file.Close()
	if exists(program) {
		return program, nil
	}
	log("installing workerd %s into %s", workerdVersion, cache)
	if err := makeWorkerd(ctx, program, name, hash, log); err != nil {
		return "", fmt.Errorf("%w: install %s: %w", ErrNoWorkerd, name, err)
	}
	return program, nil
}

// makeWorkerd makes the program from the tarball, both under other names until
// they are whole: what a killed process leaves is overwritten by the next.
func makeWorkerd(ctx context.Context, program, name, hash string, log func(string, ...any)) error {
	tarball, partial := program+".tgz", program+".partial"
	defer func() {
		_ = os.Remove(tarball) // not there after a failure
		_ = os.Remove(partial)
	}()
	if err := downloadWorkerd(ctx, tarball, name, hash); err != nil {
		log("trying npm: %v", err)
		if failure := packWorkerd(ctx, tarball, name, hash); failure != nil {
			return errors.Join(err, failure)
		}
	}
	if err := extractMember(tarball, workerdMember, partial); err != nil {
		return err
	}
	return os.Rename(partial, program)
}

// downloadWorkerd gets the tarball from the registry that npm would use.
func downloadWorkerd(ctx context.Context, path, name, hash string) error {
	from, err := url.JoinPath(npmRegistry(ctx), "@cloudflare", name, "-", name+"-"+workerdVersion+".tgz")
	if err != nil {
		return fmt.Errorf("the npm registry's address: %w", err)
	}
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, workerdTryWaitMax)
		defer cancel()
		return struct{}{}, download(ctx, from, path, hash)
	}, backoff.WithMaxTries(workerdTriesMax))
	return err
}

func download(ctx context.Context, from, path, hash string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return backoff.Permanent(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		err := fmt.Errorf("get %s: %s", from, answer.Status)
		if answer.StatusCode < http.StatusInternalServerError && answer.StatusCode != http.StatusTooManyRequests {
			return backoff.Permanent(err)
		}
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return backoff.Permanent(err)
	}
	_, err = io.Copy(file, io.LimitReader(answer.Body, workerdTarballMax))
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("get %s: %w", from, err)
	}
	return checkHash(path, hash)
}

// packWorkerd lets npm get the tarball: it knows of accounts, and of mirrors for
// scopes.
func packWorkerd(ctx context.Context, path, name, hash string) error {
	dir, err := os.MkdirTemp(filepath.Dir(path), "npm-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what stays is in the cache folder
	command := exec.CommandContext(ctx, "npm", "pack", "--silent", "--pack-destination", dir, "@cloudflare/"+name+"@"+workerdVersion)
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack: %w\n%s", err, tail(output))
	}
	packed, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(packed) != 1 {
		return fmt.Errorf("npm pack left %d tarballs in %s, want one", len(packed), dir)
	}
	if err := checkHash(packed[0], hash); err != nil {
		return err
	}
	return os.Rename(packed[0], path)
}

// npmRegistry returns the registry that npm is configured for.
func npmRegistry(ctx context.Context) string {
	for _, name := range []string{"npm_config_registry", "NPM_CONFIG_REGISTRY"} {
		if registry := os.Getenv(name); registry != "" {
			return registry
		}
	}
	output, err := exec.CommandContext(ctx, "npm", "config", "get", "registry").Output()
	if registry := strings.TrimSpace(string(output)); err == nil && strings.HasPrefix(registry, "http") {
		return registry
	}
	return npmRegistryDefault
}

// checkHash checks a file's SHA-512, in base64.
func checkHash(path, want string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha512.New()
	if _, err := io.Copy(sum, file); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("%s has the hash sha512-%s, want sha512-%s: it is not what the registry published", path, got, want)
	}
	return nil
}

// extractMember writes one member of a tarball to a file that may be executed.
func extractMember(tarball, member, path string) error {
	file, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", tarball, err)
	}
	for archive := tar.NewReader(zip); ; {
		header, err := archive.Next()
		if err != nil {
			return fmt.Errorf("unpack %s: no %s: %w", tarball, member, err)
		}
		if header.Name != member {
			continue
		}
		program, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o700)
		if err != nil {
			return err
		}
		_, err = io.Copy(program, io.LimitReader(archive, workerdProgramMax))
		if err := errors.Join(err, program.Sync(), program.Close()); err != nil {
			return fmt.Errorf("unpack %s: %w", tarball, err)
		}
		return nil
	}
}
