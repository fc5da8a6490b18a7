//go:build !linux

package edgetest

import "syscall"

func attributes() *syscall.SysProcAttr { return nil }
