package testservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const unpackLockFile = "unpacked.lock" // in the cache folder: held while packages are unpacked

// unpack downloads the packages that have the programs and the libraries they
// need, unpacks them below the cache folder and returns the programs there. It
// takes no rights at all.
func unpack(ctx context.Context, cache string, log func(string, ...any)) (binaries, error) {
	system, err := systemName(ctx)
	if err != nil {
		return binaries{}, err
	}
	root := filepath.Join(cache, "unpacked", system)
	if strings.ContainsAny(root, " \t\n") {
		return binaries{}, fmt.Errorf("unpack into %s: mariadb-install-db cannot do with white space there; set DROVER_CACHE to another folder", root)
	}
	if !exists(root) {
		if err := makeUnpacked(ctx, cache, root, log); err != nil {
			return binaries{}, err
		}
	}
	return findUnpacked(ctx, root)
}

// makeUnpacked makes root under a lock, and renames it into place complete.
func makeUnpacked(ctx context.Context, cache, root string, log func(string, ...any)) error {
	unpackLock, err := lock(ctx, filepath.Join(cache, unpackLockFile))
	if err != nil {
		return err
	}
	defer unpackLock.Close()
	if exists(root) {
		return nil
	}
	partial, downloads := root+".partial", root+".downloads"
	if err := errors.Join(os.RemoveAll(partial), os.RemoveAll(downloads), os.MkdirAll(partial, 0o700)); err != nil {
		return err
	}
	log("unpacking MariaDB and memcached into %s", root)
	err = downloadAndUnpack(ctx, downloads, partial, log)
	if err == nil {
		_, err = findUnpacked(ctx, partial)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(partial), os.RemoveAll(downloads))
	}
	return errors.Join(os.Rename(partial, root), os.RemoveAll(downloads))
}

// downloadAndUnpack tries with the machine's package lists first. They may be
// missing or outdated, and only root can renew them, so the second try has lists
// of its own.
func downloadAndUnpack(ctx context.Context, downloads, root string, log func(string, ...any)) error {
	apt := aptClient{dir: filepath.Join(downloads, "packages")}
	err := apt.download(ctx)
	if err != nil {
		log("trying again with package lists of our own: %v", err)
		apt.dir = filepath.Join(downloads, "again")
		lists, archives := filepath.Join(downloads, "lists"), filepath.Join(downloads, "cache")
		for _, dir := range []string{apt.dir, filepath.Join(lists, "partial"), filepath.Join(archives, "archives", "partial")} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
		}
		apt.options = []string{"-o", "Dir::State::Lists=" + lists, "-o", "Dir::Cache=" + archives, "-o", "Debug::NoLocking=true"}
		if _, failure := apt.run(ctx, "apt-get", "-q", "update"); failure != nil {
			return errors.Join(err, failure)
		}
		if failure := apt.download(ctx); failure != nil {
			return errors.Join(err, failure)
		}
	}
	files, err := filepath.Glob(filepath.Join(apt.dir, "*.deb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if _, err := apt.run(ctx, "dpkg", "-x", file, root); err != nil {
			return err
		}
	}
	return nil
}

// aptClient runs apt's programs in a folder.
type aptClient struct {
	dir     string
	options []string
}

func (a aptClient) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	if program != "dpkg" {
		args = slices.Concat(a.options, args)
	}
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = a.dir
	command.Env = append(os.Environ(), "LC_ALL=C")
	var messages strings.Builder
	command.Stderr = &messages
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(command.Args, " "), err, tail([]byte(messages.String())))
	}
	return output, nil
}

// download fetches the programs' packages, and those that they depend on.
func (a aptClient) download(ctx context.Context) error {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return err
	}
	packages, err := closure([]string{"mariadb-server", "memcached"}, func(names []string) ([]string, error) {
		output, err := a.run(ctx, "apt-cache", append([]string{"depends", "--no-recommends", "--no-suggests", "--no-conflicts",
			"--no-breaks", "--no-replaces", "--no-enhances"}, names...)...)
		return dependencies(string(output)), err
	})
	if err != nil {
		return err
	}
	_, err = a.run(ctx, "apt-get", append([]string{"-q", "download"}, packages...)...)
	return err
}

// wanted are the packages to follow: MariaDB's own (with the version in their
// names on some releases) and libraries. Scripting languages and their
// libraries serve maintenance scripts that are not run here.
var wanted = regexp.MustCompile(`^(mariadb-(server|client)(-core)?(-[0-9.]+)?|mariadb-common|memcached|lib.*)$`)

// unwanted are libraries to leave alone: the C library has to be the one that
// the dynamic linker belongs to.
var unwanted = regexp.MustCompile(`^libc6$|-perl$`)

// closure returns the packages and all that they depend on, directly or not, as
// far as it is wanted.
func closure(packages []string, dependenciesOf func([]string) ([]string, error)) ([]string, error) {
	var all []string
	for next := packages; len(next) > 0; {
		all = append(all, next...)
		found, err := dependenciesOf(next)
		if err != nil {
			return nil, err
		}
		next = nil
		for _, name := range found {
			if wanted.MatchString(name) && !unwanted.MatchString(name) && !slices.Contains(all, name) && !slices.Contains(next, name) {
				next = append(next, name)
			}
		}
	}
	return all, nil
}

// dependencies reads what apt-cache depends prints:
//
//	mariadb-server-core
//	  Depends: libaio1
//	 |Depends: <virtual-package>
//	    its-first-provider
//
// Of a virtual package it returns the first provider.
func dependencies(output string) []string {
	var names []string
	virtual := false
	for line := range strings.Lines(output) {
		words := strings.Fields(strings.TrimLeft(line, " |"))
		switch {
		case len(words) == 2 && (words[0] == "Depends:" || words[0] == "PreDepends:"):
			virtual = strings.HasPrefix(words[1], "<")
			if !virtual {
				names = append(names, strings.TrimSuffix(words[1], ":any"))
			}
		case len(words) == 1 && virtual && strings.HasPrefix(line, "    "):
			names = append(names, words[0])
			virtual = false
		}
	}
	return names
}

// findUnpacked finds the programs below root.
func findUnpacked(ctx context.Context, root string) (binaries, error) {
	var found binaries
	var failures []error
	for _, program := range []struct {
		path  *string
		names []string
	}{
		{&found.mariadbd, []string{"usr/sbin/mariadbd", "usr/sbin/mysqld"}},
		{&found.installDB, []string{"usr/bin/mariadb-install-db", "usr/bin/mysql_install_db"}},
		{&found.memcached, []string{"usr/bin/memcached"}},
	} {
		for _, name := range program.names {
			if path := filepath.Join(root, name); *program.path == "" && exists(path) {
				*program.path = path
			}
		}
		if *program.path == "" {
			failures = append(failures, fmt.Errorf("the packages unpacked in %s have no %s", root, strings.Join(program.names, " or ")))
		}
	}
	found.basedir = filepath.Join(root, "usr")
	for _, pattern := range []string{"usr/lib/*-linux-*", "lib/*-linux-*", "usr/lib", "lib"} {
		dirs, err := filepath.Glob(filepath.Join(root, pattern))
		failures = append(failures, err)
		found.libraries = append(found.libraries, dirs...)
	}
	if err := errors.Join(failures...); err != nil {
		return binaries{}, err
	}
	var err error
	found.version, err = mariadbVersion(ctx, found)
	return found, err
}

var releaseLine = regexp.MustCompile(`(?m)^(ID|VERSION_ID)="?([^"\n]*)"?$`)

// systemName returns the distribution, its release and the architecture: what
// packages were unpacked for.
func systemName(ctx context.Context) (string, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	values := make(map[string]string)
	for _, match := range releaseLine.FindAllStringSubmatch(string(release), -1) {
		values[match[1]] = match[2]
	}
	architecture, err := aptClient{}.run(ctx, "dpkg", "--print-architecture")
	if err != nil {
		return "", err
	}
	name := values["ID"] + "-" + values["VERSION_ID"] + "-" + strings.TrimSpace(string(architecture))
	return strings.ReplaceAll(name, "/", "-"), nil
}
