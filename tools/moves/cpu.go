package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// cpu is the machine's CPU time so far, in ticks, as the first line of
// /proc/stat has it: a stall on a machine without an idle CPU is the load's as
// much as the mover's.
type cpu struct{ idle, all uint64 }

func readCPU() (cpu, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return cpu{}, fmt.Errorf("read the CPU time: %w", err)
	}
	return parseCPU(string(text))
}

// parseCPU reads user, nice, system, idle, iowait, irq, softirq, steal. What
// follows is in user and nice already.
func parseCPU(text string) (cpu, error) {
	const counted, idle, iowait = 8, 3, 4
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 1+counted || fields[0] != "cpu" {
		return cpu{}, fmt.Errorf("/proc/stat begins with %q: want the CPUs' time", line)
	}
	var c cpu
	for i, field := range fields[1 : 1+counted] {
		ticks, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return cpu{}, fmt.Errorf("/proc/stat: %w", err)
		}
		c.all += ticks
		if i == idle || i == iowait {
			c.idle += ticks
		}
	}
	return c, nil
}

// idleSince is the share of the time since before that no CPU had work.
func (c cpu) idleSince(before cpu) float64 {
	if c.all <= before.all || c.idle < before.idle {
		return 0
	}
	return float64(c.idle-before.idle) / float64(c.all-before.all)
}
