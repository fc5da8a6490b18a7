package testservers

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Memcached is one memcached server.
type Memcached struct{ process }

// Memcached starts a memcached server and waits until it answers.
func (f *Fleet) Memcached(ctx context.Context, name string) (*Memcached, error) {
	m := new(Memcached)
	if err := f.add(&m.process, name); err != nil {
		return nil, err
	}
	m.setUp()
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// setUp makes the process a memcached server.
func (m *Memcached) setUp() {
	m.prepare = func(int) error { return nil }
	m.command = func() []string {
		args := []string{
			m.fleet.binaries.memcached,
			"-l", loopback, "-p", strconv.Itoa(m.Port()), "-U", "0",
			"-m", "64", "-c", "1024", "-t", "2",
			"-P", filepath.Join(m.dir, "memcached.pid"), // also for the watchdog, which looks for the folder
		}
		if os.Getuid() == 0 {
			args = append(args, "-u", "root")
		}
		return args
	}
	m.probe = m.answers
	m.taken = "Address already in use"
}

// answers asks the server for its pid: a stranger may have taken the port.
func (m *Memcached) answers(ctx context.Context) error {
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "tcp4", m.Addr())
	if err != nil {
		return err
	}
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { connection.Close() })()

	if _, err := connection.Write([]byte("stats\r\n")); err != nil {
		return err
	}
	lines := bufio.NewScanner(connection)
	for lines.Scan() && lines.Text() != "END" {
		if pid, found := strings.CutPrefix(lines.Text(), "STAT pid "); found {
			if pid != strconv.Itoa(m.PID()) {
				return fmt.Errorf("another server answers on %s, process %s", m.Addr(), pid)
			}
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return fmt.Errorf("%s does not say its pid", m.Addr())
}
