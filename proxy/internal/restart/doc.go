// Package restart replaces a running program by another binary, or by the same
// one with another configuration, and loses no connection: the new process
// inherits the listening sockets.
//
// A program, in this order: (1) New; (2) Listen, for each listening socket, also
// of the admin server; (3) Ready, once it serves; (4) Upgrade when it is asked to
// (by SIGUSR2, say), which starts the new process and returns once that is
// ready, or has failed; (5) when Exit is closed, stop accepting, close the
// listeners without emptying their backlogs, finish what is under way, and end
// the process; (6) when it ends without an upgrade, Stop first, then empty and
// close the listeners: while this package holds its copies of the sockets the
// system goes on queueing connections.
//
// Between Ready of the new process and the end of the old one both are alive.
// Generation tells them apart, for names that must not be taken twice. A process
// can be replaced only after the one before it has ended.
//
// A socket of which the new process makes no use is closed with the old process,
// and who waits in its backlog is reset: an address is taken out of use by
// letting the clients know first.
//
// The package reads no signal and ends no process but a new one that is not
// ready in time. A new process that fails leaves the old one as it was.
//
// All methods may be called by any goroutine. The package works once a process.
package restart
