//go:build !linux

package script

import "net"

// part ends a connection.
func part(conn *net.TCPConn) { _ = conn.Close() }
