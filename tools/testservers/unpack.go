package testservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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
	err = makeOnce(ctx, filepath.Join(cache, unpackLockFile), root, func(partial string) error {
		log("unpacking MariaDB and memcached into %s", root)
		err := unpackPackages(ctx, root+".downloads", partial, log, func(apt aptClient) error {
			return apt.withDependencies(ctx, "mariadb-server", "memcached")
		})
		if err == nil {
			_, err = findUnpacked(ctx, partial)
		}
		return err
	})
	if err != nil {
		return binaries{}, err
	}
	return findUnpacked(ctx, root)
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
