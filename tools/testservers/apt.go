package testservers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const aptLockFile = "apt.lock" // in the cache folder

// aptScript installs the packages that are its arguments. It runs in a session
// of its own and cleans up itself, so that neither Ctrl-C nor this process's
// death leaves dpkg half done or policy-rc.d in place.
//
// The packages would start their services, now and at each boot. The policy
// forbids the first, and the second is taken back where the package is new.
// --no-remove: MariaDB's package would otherwise take the place of MySQL's.
const aptScript = `
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 LC_ALL=C
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
fi
new=
for package; do
	case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) in *' installed') ;; *) new="$new $package" ;; esac
done
get() { apt-get -q -o DPkg::Lock::Timeout=600 "$@"; }
get install -y --no-remove --no-install-recommends "$@" || {
	get update && get install -y --no-remove --no-install-recommends "$@"
} || exit 1
if [ -d /run/systemd/system ]; then
	for package in $new; do systemctl disable "${package%-server}" || true; done
fi
`

// aptInstall installs the packages. Once begun, it is not interrupted: ctx only
// ends the wait for another process that is at it.
func aptInstall(ctx context.Context, cache string, log func(string, ...any), packages ...string) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("install %s: only root may", strings.Join(packages, " and "))
	}
	aptLock, err := lock(ctx, filepath.Join(cache, aptLockFile))
	if err != nil {
		return err
	}
	defer aptLock.Close()
	log("installing %s with apt-get", strings.Join(packages, " and "))
	command := exec.CommandContext(context.WithoutCancel(ctx), "/bin/sh", append([]string{"-c", aptScript, "drover-apt"}, packages...)...)
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get install %s: %w\n%s", strings.Join(packages, " "), err, tail(output))
	}
	return nil
}

// tail returns the end of a program's output, for an error.
func tail(output []byte) string {
	output = output[max(0, len(output)-logTailMax):]
	return strings.TrimSpace(string(output))
}
