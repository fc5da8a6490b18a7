package testservers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

const (
	loopback = "127.0.0.1"

	// Ports are taken from below the kernel's ephemeral range. A port from within
	// it could become the local end of somebody's connection while its server
	// is down, and the server could not come back to it.
	portMin      = 20000
	portRangeMin = 1000 // fewer ports than this, and the kernel chooses
	portTriesMax = 500
)

// reservePort finds a port that is free on loopback and reserves it for the
// fleet's whole life, so that no other fleet of this user takes it while its
// server is down. A stranger still can, hence the retries of those who start
// servers.
func (f *Fleet) reservePort(ctx context.Context) (int, error) {
	base := filepath.Dir(f.dir)
	baseLock, err := lock(ctx, filepath.Join(base, baseLockFile))
	if err != nil {
		return 0, err
	}
	defer baseLock.Close()

	for range portTriesMax {
		port, err := freePort(ctx)
		if err != nil {
			continue
		}
		name := strconv.Itoa(port)
		taken, err := filepath.Glob(filepath.Join(base, fleetPattern, portsFolder, name))
		if err != nil {
			return 0, err
		}
		if len(taken) > 0 {
			continue
		}
		return port, os.WriteFile(filepath.Join(f.dir, portsFolder, name), nil, 0o600)
	}
	return 0, fmt.Errorf("no free port on %s after %d tries", loopback, portTriesMax)
}

// freePort returns a port on which it could listen a moment ago.
func freePort(ctx context.Context) (int, error) {
	candidate := 0
	if end := ephemeralStart(); end-portMin >= portRangeMin {
		candidate = portMin + rand.IntN(end-portMin)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp4", net.JoinHostPort(loopback, strconv.Itoa(candidate)))
	if err != nil {
		return 0, err
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if err := listener.Close(); err != nil {
		return 0, err
	}
	if !ok {
		return 0, errors.New("a TCP listener without a TCP address")
	}
	return address.Port, nil
}

// ephemeralStart returns the lowest port that the kernel gives to outgoing
// connections, 32768 unless Linux says something else.
func ephemeralStart() int {
	start, end := 32768, 0
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if _, err := fmt.Sscan(string(text), &start, &end); err != nil {
			return 32768
		}
	}
	return start
}
