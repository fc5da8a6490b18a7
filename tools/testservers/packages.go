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

// makeOnce makes a folder under a lock, complete or not at all.
func makeOnce(ctx context.Context, lockPath, folder string, fill func(partial string) error) error {
	if exists(folder) {
		return nil
	}
	file, err := lock(ctx, lockPath)
	if err != nil {
		return err
	}
	defer file.Close()
	if exists(folder) {
		return nil
	}
	partial := folder + ".partial"
	if err := errors.Join(os.RemoveAll(partial), os.MkdirAll(partial, 0o700)); err != nil {
		return err
	}
	if err := fill(partial); err != nil {
		return errors.Join(err, os.RemoveAll(partial))
	}
	return os.Rename(partial, folder)
}

// unpackPackages unpacks what fetch downloads below root, and removes the
// downloads. Fetch is called with the machine's package lists first. They may be
// missing or outdated, and only root can renew them, so the second time there are
// lists of its own.
func unpackPackages(ctx context.Context, downloads, root string, log func(string, ...any), fetch func(aptClient) error) (err error) {
	if err := os.RemoveAll(downloads); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(downloads)) }()
	apt := aptClient{dir: filepath.Join(downloads, "packages")}
	if err := os.MkdirAll(apt.dir, 0o700); err != nil {
		return err
	}
	if err := fetch(apt); err != nil {
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
		if failure := fetch(apt); failure != nil {
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

// withDependencies downloads packages, and those that they depend on.
func (a aptClient) withDependencies(ctx context.Context, first ...string) error {
	packages, err := closure(first, func(names []string) ([]string, error) {
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
