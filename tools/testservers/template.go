package testservers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const templateLockFile = "templates.lock" // in the cache folder: held while one is made

// templateRecipe is one statement a line, as init_file wants it. It runs with
// the binary log off: an account in the binary log would be created twice on a
// replica that has it from the template.
const templateRecipe = `DROP DATABASE IF EXISTS test;
DELETE FROM mysql.db;
DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost');
FLUSH PRIVILEGES;
CREATE USER root@'%';
GRANT ALL PRIVILEGES ON *.* TO root@'%' WITH GRANT OPTION;
CREATE USER app@'%' IDENTIFIED BY '` + Password + `';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES ON *.* TO app@'%';
CREATE USER drover@'%' IDENTIFIED BY '` + Password + `';
GRANT ALL PRIVILEGES ON *.* TO drover@'%';
CREATE USER replica@'%' IDENTIFIED BY '` + Password + `';
GRANT REPLICATION SLAVE ON *.* TO replica@'%';
`

// ensureTemplate returns the data folder that new servers are copied from, and
// makes it first if the cache does not have it. The folder is renamed into
// place, so whoever sees it sees all of it.
func (f *Fleet) ensureTemplate(ctx context.Context, cache string, log func(string, ...any)) (string, error) {
	hash := sha256.Sum256([]byte(f.binaries.version + "\n" + templateRecipe + string(renderConfig(templateConfig()))))
	template := filepath.Join(cache, "templates", hex.EncodeToString(hash[:8]))
	if exists(template) {
		return template, nil
	}
	cacheLock, err := lock(ctx, filepath.Join(cache, templateLockFile))
	if err != nil {
		return "", err
	}
	defer cacheLock.Close()
	if exists(template) {
		return template, nil
	}

	log("making the template data folder %s for %s", template, f.binaries.version)
	dataDir, err := f.makeTemplate(ctx)
	if err != nil {
		return "", fmt.Errorf("make the template data folder: %w", err)
	}
	// Copied first: the cache is often on another file system.
	partial := template + ".partial"
	if err := errors.Join(os.RemoveAll(partial), os.MkdirAll(filepath.Dir(template), 0o700)); err != nil {
		return "", err
	}
	if err := copyTree(dataDir, partial); err != nil {
		return "", errors.Join(err, os.RemoveAll(partial))
	}
	if err := os.Rename(partial, template); err != nil {
		return "", err
	}
	return template, os.RemoveAll(filepath.Dir(dataDir))
}

// makeTemplate makes a data folder with the accounts within the fleet's folder,
// where the watchdog would clean up after it, and returns its path.
func (f *Fleet) makeTemplate(ctx context.Context) (string, error) {
	m := &MariaDB{serverID: 1}
	if err := m.init(f, "template", filepath.Join(f.dir, "template")); err != nil {
		return "", err
	}
	if err := f.installSystemTables(ctx, m.dataDir()); err != nil {
		return "", err
	}

	recipe := filepath.Join(m.dir, "recipe.sql")
	if err := os.WriteFile(recipe, []byte(templateRecipe), 0o600); err != nil {
		return "", err
	}
	config, err := m.config(templateConfig(), map[string]string{"init_file": recipe})
	if err != nil {
		return "", err
	}
	if err := m.setUp(config); err != nil {
		return "", err
	}
	if err := m.start(ctx); err != nil {
		return "", err
	}
	for _, account := range []string{AccountRoot, AccountApp, AccountDrover, AccountReplica} {
		if err := m.ping(ctx, account); err != nil {
			return "", fmt.Errorf("account %s: %w\n%s", account, err, m.logTail(0))
		}
	}
	if err := m.Stop(); err != nil {
		return "", err
	}
	// What belongs to a server, and is made anew by each.
	for _, name := range []string{"mariadbd.sock", "mariadbd.pid", "ib_buffer_pool", "ibtmp1"} {
		if err := os.Remove(filepath.Join(m.dataDir(), name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	return m.dataDir(), nil
}

// templateConfig is defaultConfig without a binary log.
func templateConfig() map[string]string {
	config := defaultConfig()
	for _, key := range []string{"log_bin", "log_slave_updates", "relay_log"} {
		delete(config, key)
	}
	return config
}

// installSystemTables runs mariadb-install-db.
func (f *Fleet) installSystemTables(ctx context.Context, dataDir string) error {
	args := []string{
		f.binaries.installDB, "--no-defaults", "--datadir=" + dataDir,
		"--auth-root-authentication-method=normal", "--skip-name-resolve", "--force",
		"--innodb_log_file_size=" + defaultConfig()["innodb_log_file_size"], "--innodb_use_native_aio=0",
	}
	if f.binaries.basedir != "" {
		args = append(args, "--basedir="+f.binaries.basedir)
	}
	if os.Getuid() == 0 {
		// Not --user=root: the script would take that as word to change the owner
		// of the PAM plugin's folder, which is the machine's.
		args = append(args, "-uroot")
	}
	output := new(strings.Builder)
	command := f.launcher(args...)
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }) // it may just have ended
	defer stop()
	if err := command.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%s: %w\n%s", f.binaries.installDB, err, strings.TrimSpace(output.String()))
	}
	return nil
}

func (m *MariaDB) ping(ctx context.Context, account string) error {
	pool, err := m.Open(account, "")
	if err != nil {
		return err
	}
	return errors.Join(pool.PingContext(ctx), pool.Close())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
