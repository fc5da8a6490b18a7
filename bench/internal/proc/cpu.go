package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of CPU time in /proc: USER_HZ is 100 on every Linux.
const tick = 10 * time.Millisecond

// CPU is the CPU time that processes have used.
type CPU struct {
	Total        time.Duration // exact
	User, System time.Duration // to a tick for each process
}

// Sub returns the time used since an earlier reading.
func (c CPU) Sub(earlier CPU) CPU {
	return CPU{Total: c.Total - earlier.Total, User: c.User - earlier.User, System: c.System - earlier.System}
}

// Split shares the total between user and system as the ticks do.
func (c CPU) Split() (user, system time.Duration) {
	if c.User+c.System == 0 {
		return c.Total, 0
	}
	user = time.Duration(float64(c.Total) * float64(c.User) / float64(c.User+c.System))
	return user, c.Total - user
}

// Clock is the CPU time that a process has used, all its threads together and
// those that have ended, exact: its CPU clock, as of clock_getcpuclockid(3).
func Clock(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &ts); err != nil {
		return 0, fmt.Errorf("read the CPU clock of process %d, which has ended or is not yours: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// CPUOf adds up the CPU time of processes.
func CPUOf(pids []int) (CPU, error) {
	var sum CPU
	for _, pid := range pids {
		s, err := statOf(pid)
		if err != nil {
			return CPU{}, err
		}
		total, err := Clock(pid)
		if err != nil { // somebody else's process
			total = s.user + s.system
		}
		sum.Total, sum.User, sum.System = sum.Total+total, sum.User+s.user, sum.System+s.system
	}
	return sum, nil
}

// stat is what is wanted of /proc/PID/stat.
type stat struct {
	parent       int
	user, system time.Duration
}

func statOf(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, fmt.Errorf("read the CPU time of process %d, which has ended or is not yours: %w", pid, err)
	}
	s, err := parseStat(string(text))
	if err != nil {
		return stat{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return s, nil
}

// parseStat reads fields 4 (ppid), 14 (utime) and 15 (stime) of proc(5). The
// second field is a name in brackets that may hold anything, brackets too.
func parseStat(text string) (stat, error) {
	_, rest, found := cutLast(text, ") ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 13 {
		return stat{}, fmt.Errorf("not a line of /proc/PID/stat: %q", text)
	}
	var numbers [3]int64
	for i, field := range []int{4, 14, 15} {
		n, err := strconv.ParseInt(fields[field-3], 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("field %d of /proc/PID/stat: %w", field, err)
		}
		numbers[i] = n
	}
	return stat{parent: int(numbers[0]), user: time.Duration(numbers[1]) * tick, system: time.Duration(numbers[2]) * tick}, nil
}

func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}

// busyFields are user, nice, system, irq and softirq of a line of /proc/stat.
var busyFields = [...]int{1, 2, 3, 6, 7}

// stolenField is the time that the host of a virtual machine took.
const stolenField = 8

// MachineBusy returns the CPU time that all cores have spent at work since
// boot, to a tick.
func MachineBusy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read the machine's CPU time: %w", err)
	}
	return parseMachine(string(text), busyFields[:]...)
}

// MachineStolen returns the CPU time that the host has taken from all cores, to
// a tick: they had work, and did not run.
func MachineStolen() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read the machine's stolen time: %w", err)
	}
	return parseMachine(string(text), stolenField)
}

// parseMachine adds up fields of the first line.
func parseMachine(text string, which ...int) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("not the first line of /proc/stat: %q", line)
	}
	var sum time.Duration
	for _, i := range which {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("field %d of /proc/stat: %w", i, err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}
