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

// Where binaries may come from: the values of DROVER_TESTSERVERS_SOURCE.
const (
	sourceAny    = ""
	sourcePath   = "path"
	sourceApt    = "apt"
	sourceUnpack = "unpack"
)

// ErrMissing says that MariaDB or memcached is neither there nor installable.
var ErrMissing = errors.New("MariaDB 10.5 or newer and memcached are needed")

// The oldest MariaDB that has the privileges the template grants.
const mariadbMajorMin, mariadbMinorMin = 10, 5

// binaries are the programs a fleet runs, and what they need to run.
type binaries struct {
	mariadbd  string
	installDB string
	memcached string
	version   string   // what mariadbd says of itself
	basedir   string   // of MariaDB, if it is not where it was built for
	libraries []string // folders for the dynamic linker
}

// findOrInstall returns the programs, installed first if they are missing.
func findOrInstall(ctx context.Context, cache string, log func(string, ...any)) (binaries, error) {
	source := os.Getenv("DROVER_TESTSERVERS_SOURCE")
	packages := []string{"mariadb-server", "memcached"}
	switch source {
	case sourceAny, sourcePath:
		found, missing, err := findOnPath(ctx)
		if err == nil || source == sourcePath {
			return found, err
		}
		packages = missing
	case sourceApt, sourceUnpack:
	default:
		return binaries{}, fmt.Errorf("DROVER_TESTSERVERS_SOURCE is %q: want %s, %s, %s or nothing", source, sourcePath, sourceApt, sourceUnpack)
	}
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			return binaries{}, fmt.Errorf("%w: install the packages that have mariadbd, mariadb-install-db and memcached, "+
				"and put them on PATH (this machine has no %s, so it cannot be done for you)", ErrMissing, tool)
		}
	}

	var failure error
	if source == sourceApt || source == sourceAny && os.Getuid() == 0 {
		if failure = aptInstall(ctx, cache, log, packages...); failure == nil {
			found, _, err := findOnPath(ctx)
			return found, err
		}
		log("cannot install: %v", failure)
	}
	if source != sourceApt {
		found, err := unpack(ctx, cache, log)
		if err == nil {
			return found, nil
		}
		failure = errors.Join(failure, err)
	}
	return binaries{}, fmt.Errorf("%w: run apt-get install mariadb-server memcached as root: %w", ErrMissing, failure)
}

// findOnPath finds the programs on PATH, or where daemons are that no user's
// PATH has. On an error it returns the packages that have what is missing.
func findOnPath(ctx context.Context) (found binaries, missing []string, err error) {
	found.mariadbd, err = lookPath("mariadbd", "mysqld")
	if err == nil {
		found.version, err = mariadbVersion(ctx, found)
	}
	var failure error
	if found.installDB, failure = lookPath("mariadb-install-db", "mysql_install_db"); failure != nil {
		err = errors.Join(err, failure)
	}
	if err != nil {
		missing = append(missing, "mariadb-server")
	}
	if found.memcached, failure = lookPath("memcached"); failure != nil {
		err = errors.Join(err, failure)
		missing = append(missing, "memcached")
	}
	if err != nil {
		return binaries{}, missing, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	// A server outside /usr is one that was unpacked somewhere, and needs to
	// be told where.
	if root := filepath.Dir(filepath.Dir(found.mariadbd)); root != "/usr" && exists(filepath.Join(root, "bin", "my_print_defaults")) {
		found.basedir = root
	}
	return found, nil, nil
}

// lookPath returns the first of the names that is a program.
func lookPath(names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.Abs(path)
		}
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"} {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("no %s on PATH", strings.Join(names, " or "))
}

var versionWords = regexp.MustCompile(`Ver ((\d+)\.(\d+)\.\S*MariaDB\S*)`)

// mariadbVersion runs the server to ask for its version, and refuses what is no
// MariaDB or too old.
func mariadbVersion(ctx context.Context, programs binaries) (string, error) {
	command := exec.CommandContext(ctx, programs.mariadbd, "--no-defaults", "--version")
	command.Env = programs.environment()
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w\n%s", programs.mariadbd, err, output)
	}
	words := versionWords.FindStringSubmatch(string(output))
	if words == nil {
		return "", fmt.Errorf("%s is not MariaDB: %s", programs.mariadbd, strings.TrimSpace(string(output)))
	}
	major, _ := strconv.Atoi(words[2])
	minor, _ := strconv.Atoi(words[3])
	if major < mariadbMajorMin || major == mariadbMajorMin && minor < mariadbMinorMin {
		return "", fmt.Errorf("%s is MariaDB %s: want %d.%d or newer", programs.mariadbd, words[1], mariadbMajorMin, mariadbMinorMin)
	}
	return words[1], nil
}

// config returns the my.cnf keys that tell a MariaDB from elsewhere where its
// files are.
func (b binaries) config() map[string]string {
	if b.basedir == "" {
		return nil
	}
	config := map[string]string{"basedir": b.basedir}
	for _, name := range []string{"share/mariadb", "share/mysql", "share"} {
		share := filepath.Join(b.basedir, name)
		if exists(filepath.Join(share, "english", "errmsg.sys")) {
			config["lc_messages_dir"] = share
			config["character_sets_dir"] = filepath.Join(share, "charsets")
			break
		}
	}
	for _, name := range []string{"lib/mysql/plugin", "lib/mariadb/plugin", "lib/plugin"} {
		if plugins := filepath.Join(b.basedir, name); exists(plugins) {
			config["plugin_dir"] = plugins
			break
		}
	}
	return config
}

// environment returns the environment of the programs: this process's own, but
// for what MariaDB would take as settings, and systemd's socket, to which it
// would report as if it were the service.
func (b binaries) environment() []string {
	var environment []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case strings.HasPrefix(name, "MYSQL"), strings.HasPrefix(name, "MARIADB"),
			name == "NOTIFY_SOCKET", strings.HasPrefix(name, "LISTEN_"):
		case name == "LD_LIBRARY_PATH" && len(b.libraries) > 0:
		default:
			environment = append(environment, variable)
		}
	}
	if len(b.libraries) > 0 {
		paths := b.libraries
		if own := os.Getenv("LD_LIBRARY_PATH"); own != "" {
			paths = append(paths[:len(paths):len(paths)], own)
		}
		environment = append(environment, "LD_LIBRARY_PATH="+strings.Join(paths, ":"))
	}
	return environment
}
