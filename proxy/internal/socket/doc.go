// Package socket is TCP for a proxy: reads and writes are raw non-blocking
// system calls, and only waiting goes through the runtime.
//
// An ordinary net.Conn tells the scheduler of every system call. After an idle
// moment each of them wakes the runtime's monitor thread, which at a low rate
// costs more than the proxy's own work. The calls here cannot block, so nobody
// has to be told; who would have to wait is parked in the runtime's poller as
// ever.
//
// The owner of a connection, in this order: (1) New; (2) SetReadTimeout and
// SetWriteTimeout, as often as they change; (3) Read, ReadReady, Write, Writev;
// (4) Close. A timeout is of each wait: it begins when a call finds that it has
// to wait, and costs nothing when none does. One goroutine may read while one
// other writes; timeouts and limits are set by the one whose calls they bound,
// before the call: unlike a net.Conn's deadline they do not reach a wait that
// is under way. Interrupt, Gone, Close and Conn's Look may be called by any.
//
// A Watcher says that a peer has gone away while nobody reads from it. A
// Monitor must run in a program that uses this package: with the runtime's
// monitor thread asleep, nobody else would preempt a goroutine that computes
// for long.
//
// The package is for Linux.
package socket
