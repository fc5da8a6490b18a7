package upstream

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// watch checks the host at each interval until ctx ends. A failed check takes
// it out, a good one brings it back.
func (h *host) watch(ctx context.Context, health Health) {
	tick := time.NewTicker(health.Interval)
	defer tick.Stop()
	for {
		check, cancel := context.WithTimeout(ctx, health.Timeout)
		err := h.check(check, health.Path)
		cancel()
		if ctx.Err() != nil {
			return
		}
		h.checked(err == nil)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// check asks for path on a connection of its own. Any answer under 500 is good.
func (h *host) check(ctx context.Context, path string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", h.address)
	if err != nil {
		return err
	}
	defer c.Close()                                                           // of no more use
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // closed then
	defer stop()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: drover-health\r\nConnection: close\r\n\r\n", path, h.address); err != nil {
		return err
	}
	line, err := bufio.NewReaderSize(c, 512).ReadString('\n')
	if err != nil {
		return err
	}
	if len(line) < len("HTTP/1.1 200") || line[:len("HTTP/1.")] != "HTTP/1." {
		return fmt.Errorf("the answer is no HTTP")
	}
	status, err := strconv.Atoi(line[9:12])
	if err != nil || status < 100 || status >= 500 {
		return fmt.Errorf("status %d", status)
	}
	return nil
}
