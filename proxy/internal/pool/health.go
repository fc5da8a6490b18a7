package pool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// The good answers when none are configured.
const (
	statusMin = 100
	statusMax = 499
)

// statusLineMax is how much is read for an answer's first line.
const statusLineMax = 512

// watch checks the host at each interval until ctx ends.
func (h *Host) watch(ctx context.Context) {
	health := &h.pool.health
	tick := time.NewTicker(health.Interval)
	defer tick.Stop()
	run, last := 0, true // checks in a row that say the same
	for {
		bounded, cancel := context.WithTimeout(ctx, health.Timeout)
		err := h.check(bounded)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if good := err == nil; good != last {
			run, last = 0, good
		}
		run++
		enough := health.HealthyAfter
		if err != nil {
			enough = health.UnhealthyAfter
		}
		if run >= enough {
			h.checked(err == nil, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// check asks for the path on a connection of its own, which is not one of the
// limit's: a host that is only busy is not sick.
func (h *Host) check(ctx context.Context) error {
	c, err := h.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // of no more use
	stop := context.AfterFunc(ctx, c.Socket.Interrupt)
	defer stop()
	health := &h.pool.health
	host := health.Host
	if host == "" {
		host = h.name
	}
	if _, err := c.Write(fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: drover-health\r\nConnection: close\r\n\r\n", health.Path, host)); err != nil {
		return fmt.Errorf("send the check: %w", err)
	}
	line, err := bufio.NewReaderSize(c, statusLineMax).ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read the check's answer: %w", err)
	}
	status, err := statusOf(line)
	if err != nil {
		return err
	}
	low, high := health.StatusMin, health.StatusMax
	if low == 0 && high == 0 {
		low, high = statusMin, statusMax
	}
	if status < low || status > high {
		return fmt.Errorf("the check's answer is %d: want %d to %d", status, low, high)
	}
	return nil
}

var errNoHTTP = errors.New("the check's answer is no HTTP/1 (check the port, and whether it wants TLS)")

// statusOf reads a line such as "HTTP/1.1 200 OK".
func statusOf(line []byte) (int, error) {
	const version, code = "HTTP/1.x ", "200"
	if len(line) <= len(version+code) || string(line[:7]) != version[:7] || line[8] != ' ' || line[12] > ' ' {
		return 0, errNoHTTP
	}
	status, err := strconv.ParseUint(string(line[9:12]), 10, 16)
	if err != nil || status < 100 {
		return 0, errNoHTTP
	}
	return int(status), nil
}
