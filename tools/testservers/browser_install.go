package testservers

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cenkalti/backoff/v5"
)

const (
	playwrightVersion = "1.65.1"
	// playwrightHash is the SHA-512 of the tarball, as the registry's "integrity"
	// has it.
	playwrightHash  = "hqPpz7blSMPxWVdoeE1yiBSzXsKiVOd2k+kjCvmUywD2GPO2Dd9HfcWnq9NN0GHbNZDFgZ9JfBFr+X5/BLo0qw=="
	playwrightFiles = 2000      // it has some 500
	playwrightMax   = 256 << 20 // bytes unpacked; it has 10 MiB

	nodeMajorMin    = 20
	browserLockFile = "browser.lock" // in the cache folder: held while something is installed
)

// ErrNoBrowser says that Chromium, node or playwright-core is neither there nor
// installable.
var ErrNoBrowser = errors.New("a browser is needed")

// InstallBrowser finds Chromium, and playwright-core, or installs them: Chromium
// by apt for root, and for others unpacked from its packages below the cache
// folder. Any number of processes may call it at once.
func InstallBrowser(ctx context.Context, log func(format string, args ...any)) (*Browser, error) {
	cache, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	b, err := installBrowser(ctx, cache, log)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoBrowser, err)
	}
	return b, nil
}

func installBrowser(ctx context.Context, cache string, log func(string, ...any)) (*Browser, error) {
	b := new(Browser)
	var err error
	if b.node, err = findNode(ctx); err != nil {
		return nil, err
	}
	if b.playwright, err = installPlaywright(ctx, cache, log); err != nil {
		return nil, fmt.Errorf("install playwright-core %s: %w", playwrightVersion, err)
	}
	return b, b.findOrInstall(ctx, cache, log)
}

// findNode finds a node that playwright-core runs on.
func findNode(ctx context.Context) (string, error) {
	node, err := lookPath("node", "nodejs")
	if err != nil {
		return "", fmt.Errorf("%w: put node %d or newer on PATH", err, nodeMajorMin)
	}
	output, err := exec.CommandContext(ctx, node, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", node, err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(output)), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < nodeMajorMin {
		return "", fmt.Errorf("%s is node %s: put node %d or newer on PATH", node, strings.TrimSpace(string(output)), nodeMajorMin)
	}
	return node, nil
}

// findOrInstall finds Chromium in the same order as the servers are found in.
func (b *Browser) findOrInstall(ctx context.Context, cache string, log func(string, ...any)) error {
	source := os.Getenv("DROVER_TESTSERVERS_SOURCE")
	find := func() (err error) {
		b.program, err = lookPath("chromium", "chromium-browser", "google-chrome")
		return err
	}
	if source == sourceAny || source == sourcePath {
		if err := find(); err == nil || source == sourcePath {
			return err
		}
	}
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("put chromium on PATH: this machine has no %s, so it cannot be installed for you", tool)
		}
	}
	var failure error
	if source == sourceApt || source == sourceAny && os.Getuid() == 0 {
		if failure = aptInstall(ctx, cache, log, "chromium"); failure == nil {
			return find()
		}
		log("cannot install: %v", failure)
	}
	if source != sourceApt {
		err := b.unpack(ctx, cache, log)
		if err == nil {
			return nil
		}
		failure = errors.Join(failure, err)
	}
	return fmt.Errorf("run apt-get install chromium as root: %w", failure)
}

// unpack unpacks Chromium and what it needs below the cache folder.
func (b *Browser) unpack(ctx context.Context, cache string, log func(string, ...any)) error {
	system, err := systemName(ctx)
	if err != nil {
		return err
	}
	root := filepath.Join(cache, "browser", system)
	err = makeOnce(ctx, filepath.Join(cache, browserLockFile), root, func(partial string) error {
		log("unpacking Chromium into %s", root)
		return unpackPackages(ctx, root+".downloads", partial, log, func(apt aptClient) error {
			return apt.withDependencies(ctx, browserPackages()...)
		})
	})
	if err != nil {
		return err
	}
	b.program = filepath.Join(root, "usr/lib/chromium/chromium")
	if !exists(b.program) {
		return fmt.Errorf("the packages unpacked in %s have no usr/lib/chromium/chromium", root)
	}
	var libraries []string
	for _, pattern := range []string{"usr/lib/*-linux-*", "lib/*-linux-*", "usr/lib/*-linux-*/*", "usr/lib", "lib"} {
		dirs, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		libraries = append(libraries, dirs...)
	}
	fonts := filepath.Join(root, "fonts.conf")
	if err := os.WriteFile(fonts, fmt.Appendf(nil, fontsConfig, root, filepath.Join(cache, "fonts")), 0o600); err != nil {
		return err
	}
	b.environment = []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":"), "FONTCONFIG_FILE=" + fonts}
	return nil
}

// fontsConfig names the fonts that were unpacked, and where what is known of them
// is kept.
const fontsConfig = `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>%s/usr/share/fonts</dir><dir>/usr/share/fonts</dir><cachedir>%s</cachedir></fontconfig>
`

// browserPackages are Chromium's own, and a font, without which there is no text.
func browserPackages() []string { return []string{"chromium", "chromium-common", "fonts-dejavu-core"} }

// installPlaywright returns the folder of playwright-core, from the npm registry.
func installPlaywright(ctx context.Context, cache string, log func(string, ...any)) (string, error) {
	folder := filepath.Join(cache, "playwright-core-"+playwrightVersion)
	err := makeOnce(ctx, filepath.Join(cache, browserLockFile), folder, func(partial string) error {
		log("installing playwright-core %s into %s", playwrightVersion, cache)
		tarball := folder + ".tgz"
		defer os.Remove(tarball) //nolint:errcheck // not there after a failure
		from, err := url.JoinPath(npmRegistry(ctx), "playwright-core", "-", "playwright-core-"+playwrightVersion+".tgz")
		if err != nil {
			return fmt.Errorf("the npm registry's address: %w", err)
		}
		_, err = backoff.Retry(ctx, func() (struct{}, error) {
			ctx, cancel := context.WithTimeout(ctx, workerdTryWaitMax)
			defer cancel()
			return struct{}{}, download(ctx, from, tarball, playwrightHash)
		}, backoff.WithMaxTries(workerdTriesMax))
		if err != nil {
			return err
		}
		return extractAll(tarball, partial)
	})
	return filepath.Join(folder, "package"), err
}

// extractAll writes the files of a tarball below a folder, and none elsewhere.
func extractAll(tarball, folder string) error {
	file, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", tarball, err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is lost
	archive, left := tar.NewReader(zip), int64(playwrightMax)
	for range playwrightFiles {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", tarball, err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if left -= header.Size; left < 0 {
			return fmt.Errorf("unpack %s: it has more than %d bytes", tarball, playwrightMax)
		}
		if err := extractFile(root, header.Name, archive); err != nil {
			return fmt.Errorf("unpack %s: %w", tarball, err)
		}
	}
	return fmt.Errorf("unpack %s: it has more than %d files", tarball, playwrightFiles)
}

func extractFile(root *os.Root, name string, from io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Close())
}
