// Package proc reads what Linux says of a process: its CPU time, its memory,
// its children; and it binds threads to cores.
//
// CPU time comes from two places. The process's CPU clock is exact to the
// nanosecond and counts threads that have ended; /proc/PID/stat is in ticks of
// 10 ms, but tells user from system. CPU takes the total from the first and
// the split from the second. /proc/PID/schedstat is not used: it knows the
// first thread alone.
//
// Nothing is kept between calls; every function may be called concurrently.
// The package never changes another process but by Pinned, which binds the
// calling thread for the time of one call.
package proc
