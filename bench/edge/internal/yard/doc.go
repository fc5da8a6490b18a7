// Package yard is the bench's other side of the edge: the applications of both
// datacenters and the clients, on one epoll loop, in one thread, in a process
// of its own.
//
// A measurement, in this order: (1) Start begins the process and learns where
// its two origins listen; (2) Load opens connections to a peer, runs through
// the ramp and the measured time and closes them again, or Open, Send, Collect
// and Close do it step by step for requests that are to be held; (3) Stop.
//
// One thread for both sides is cheaper than a process each: the machine has
// few cores, the peer should have one whole, and what is left must keep it
// busy; with one loop there is no switch between clients and origins. wrk was
// looked at and left: it cannot tell a wrong datacenter's answer from a right
// one without a script that costs more than the request, nor keep a fixed rate.
// Go's net package would cost two goroutine switches a request.
//
// At a fixed rate each request has an intended time, and its latency counts
// from there: one that had to wait because all connections were busy is not
// forgiven. Every answer is checked: status, length, user and datacenter.
//
// CPU time is read by the loop itself at the edges of the measured time, so
// that the readings enclose the counted answers. The process's garbage collector is
// off: the loop allocates nothing per request.
//
// The loop never blocks but in epoll_pwait2, never resolves a name and listens
// on loopback alone. A Yard is for one goroutine; a process runs one loop.
package yard
