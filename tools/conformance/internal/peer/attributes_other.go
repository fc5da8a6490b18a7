//go:build !linux

package peer

import "syscall"

// attributes put a peer in a process group of its own, so that Ctrl-C reaches
// the suite alone.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
