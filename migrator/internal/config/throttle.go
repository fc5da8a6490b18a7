package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"drover/internal/config"
	"drover/migrator/internal/move"
)

// Throttle is move.ThrottleLimits by its keys. 0 bounds nothing.
type Throttle struct {
	// Lag is how far a replica may be behind while rows are copied or purged.
	Lag time.Duration `yaml:"lag_max"`
	// Replicas are the addresses, host:port, of the replicas that are looked at.
	// The migrator's account must be on them.
	Replicas Addresses `yaml:"replicas"`
	// ThreadsRunning bounds Threads_running at both ends of a move.
	ThreadsRunning int `yaml:"threads_running_max"`
	// History bounds the InnoDB history list at both ends of a move.
	History int `yaml:"history_max"`
	// Rows bounds the rows copied or purged in a second.
	Rows int `yaml:"rows_per_second"`
}

// Addresses are host:port, a list in the file. Kept as one text with commas, so
// that two configurations can be compared.
type Addresses string

// UnmarshalYAML reads a list.
func (a *Addresses) UnmarshalYAML(decode func(any) error) error {
	var list []string
	if err := decode(&list); err != nil {
		return err
	}
	*a = Addresses(strings.Join(list, ","))
	return nil
}

func defaultThrottle(l move.ThrottleLimits) Throttle {
	return Throttle{Lag: l.LagMax, Replicas: Addresses(l.Replicas), ThreadsRunning: l.ThreadsRunningMax, History: l.HistoryMax, Rows: l.RowsPerSecond}
}

func (t Throttle) limits() move.ThrottleLimits {
	return move.ThrottleLimits{LagMax: t.Lag, Replicas: string(t.Replicas), ThreadsRunningMax: t.ThreadsRunning, HistoryMax: t.History, RowsPerSecond: t.Rows}
}

func (t Throttle) validate(p *config.Problems) {
	const numberMax = 1_000_000_000
	p.Lasting("move.throttle.lag_max", t.Lag, 100*time.Millisecond, 24*time.Hour)
	p.Between("move.throttle.threads_running_max", int64(t.ThreadsRunning), 0, numberMax)
	p.Between("move.throttle.history_max", int64(t.History), 0, numberMax)
	p.Between("move.throttle.rows_per_second", int64(t.Rows), 0, numberMax)
	if t.Replicas == "" {
		return
	}
	for i, addr := range strings.Split(string(t.Replicas), ",") {
		host, port, err := net.SplitHostPort(addr)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		p.Want(err == nil && host != "", fmt.Sprintf("move.throttle.replicas[%d]", i), addr, "host:port")
	}
}
