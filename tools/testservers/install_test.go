package testservers

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestInstallsAtOnceMakeOneTemplate(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	shareConsul(t, cache)
	const programs = 4
	var outputs [programs]bytes.Buffer
	var waits [programs]func() error
	for i := range waits {
		command := child(t, "install", "DROVER_CACHE="+cache)
		command.Stdout = &outputs[i]
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		waits[i] = command.Wait
	}
	made := 0
	for i, wait := range waits {
		if err := wait(); err != nil {
			t.Errorf("program %d: %v\n%s", i, err, &outputs[i])
		}
		made += strings.Count(outputs[i].String(), "making the template")
	}
	templates, err := os.ReadDir(filepath.Join(cache, "templates"))
	if err != nil || made != 1 || len(templates) != 1 {
		t.Errorf("%d made, %v left: %v", made, templates, err)
	}
}

func TestCopyHasTheSameBytes(t *testing.T) {
	source, target := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	files := map[string][]byte{
		"empty":         {},
		"zeros":         make([]byte, 3*copyBlock),
		"zeros at end":  append([]byte("x"), make([]byte, 2*copyBlock)...),
		"hole":          slices.Concat([]byte("x"), make([]byte, 3*copyBlock), []byte("y")),
		"sub/odd block": bytes.Repeat([]byte("z"), copyBlock+1),
	}
	for name, content := range files {
		path := filepath.Join(source, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := copyTree(source, target); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if copied, err := os.ReadFile(filepath.Join(target, name)); err != nil || !bytes.Equal(copied, content) {
			t.Errorf("%s: %d bytes, want %d: %v", name, len(copied), len(content), err)
		}
	}
	if err := os.Symlink("empty", filepath.Join(source, "link")); err != nil {
		t.Fatal(err)
	}
	if err := copyTree(source, target+"2"); err == nil {
		t.Error("a link was copied")
	}
}

func TestForeignOrOldServerIsRefused(t *testing.T) {
	for line, want := range map[string]string{
		"mysqld  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)":                       "",
		"mysqld  Ver 10.4.34-MariaDB for Linux on x86_64 (MariaDB Server)":                            "",
		"mysqld  Ver 10.5.0-MariaDB for Linux on x86_64 (MariaDB Server)":                             "10.5.0-MariaDB",
		"mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)":         "10.11.19-MariaDB-0+deb12u1",
		"/usr/sbin/mariadbd  Ver 11.8.2-MariaDB-ubu2404 for debian-linux-gnu on aarch64 (x) source 1": "11.8.2-MariaDB-ubu2404",
	} {
		program := filepath.Join(t.TempDir(), "mariadbd")
		if err := os.WriteFile(program, []byte("#!/bin/sh\necho '"+line+"'\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		version, err := mariadbVersion(t.Context(), binaries{mariadbd: program})
		if version != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", line, version, err)
		}
	}
}

func TestUnknownSourceIsRefused(t *testing.T) {
	t.Setenv("DROVER_TESTSERVERS_SOURCE", "internet")
	if _, err := New(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "DROVER_TESTSERVERS_SOURCE") {
		t.Errorf("%v", err)
	}
}

func TestMissingProgramsAreNamed(t *testing.T) {
	if _, err := lookPath("no-such-server", "nor-such"); err == nil || !strings.Contains(err.Error(), "no-such-server or nor-such") {
		t.Errorf("%v", err)
	}
}

func TestDependenciesAreFollowedToLibrariesAlone(t *testing.T) {
	outputs := map[string]string{
		"mariadb-server": `mariadb-server
 |Depends: debconf
  Depends: <debconf-2.0>
    cdebconf
    debconf
  PreDepends: mariadb-common
  Depends: libdbi-perl
  Depends: mariadb-server-core-10.6
  Depends: perl:any
`,
		"memcached":      "memcached\n  Depends: libc6\n  Depends: libevent-2.1-7t64\n",
		"mariadb-common": "mariadb-common\n",
		"mariadb-server-core-10.6": `mariadb-server-core-10.6
  Depends: <libaio1>
    libaio1t64
  Depends: libc6
  Depends: libsystemd0
    libelogind0
`,
		"libevent-2.1-7t64": "libevent-2.1-7t64\n  Depends: libc6\n",
		"libaio1t64":        "libaio1t64\n",
		"libsystemd0":       "libsystemd0\n  Depends: libsystemd0\n",
	}
	packages, err := closure([]string{"mariadb-server", "memcached"}, func(names []string) ([]string, error) {
		var all []string
		for _, name := range names {
			output, known := outputs[name]
			if !known {
				return nil, errors.New("asked for " + name)
			}
			all = append(all, dependencies(output)...)
		}
		return all, nil
	})
	want := []string{"mariadb-server", "memcached", "mariadb-common", "mariadb-server-core-10.6", "libevent-2.1-7t64", "libaio1t64", "libsystemd0"}
	if err != nil || !slices.Equal(packages, want) {
		t.Errorf("%v, %v\nwant %v", packages, err, want)
	}
}

func TestFolderOfAnotherKindIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "base")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := privateFolder(path); err == nil {
		t.Error("a file was taken for a folder")
	}
}
