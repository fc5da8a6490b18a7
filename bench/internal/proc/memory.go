package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is what processes have in memory, in KiB.
type Memory struct {
	NowKiB  int64 // VmRSS
	PeakKiB int64 // VmHWM
}

// MemoryOf adds up the memory of processes. Pages that they share count for
// each.
func MemoryOf(pids []int) (Memory, error) {
	var sum Memory
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return Memory{}, fmt.Errorf("read the memory of process %d, which has ended or is not yours: %w", pid, err)
		}
		m, err := parseStatus(string(text))
		if err != nil {
			return Memory{}, fmt.Errorf("process %d: %w", pid, err)
		}
		sum.NowKiB, sum.PeakKiB = sum.NowKiB+m.NowKiB, sum.PeakKiB+m.PeakKiB
	}
	return sum, nil
}

func parseStatus(text string) (Memory, error) {
	var m Memory
	for _, want := range []struct {
		key string
		to  *int64
	}{{"VmRSS:", &m.NowKiB}, {"VmHWM:", &m.PeakKiB}} {
		_, rest, found := strings.Cut(text, "\n"+want.key)
		line, _, _ := strings.Cut(rest, "\n")
		number, isKiB := strings.CutSuffix(strings.TrimSpace(line), " kB")
		if !found || !isKiB {
			return Memory{}, fmt.Errorf("no %s in /proc/PID/status: the process is ending", want.key)
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("%s of /proc/PID/status: %w", want.key, err)
		}
		*want.to = n
	}
	return m, nil
}

// Tree returns a process and all that descend from it.
func Tree(root int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	children := map[int][]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := statOf(pid); err == nil { // else it ended meanwhile
			children[s.parent] = append(children[s.parent], pid)
		}
	}
	tree := []int{root}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i]]...)
	}
	return tree, nil
}
