// Package faults does to a datacenter what campaigns and tracers must notice.
//
// A Front stands between the edge and a datacenter's applications, a relay for
// each of them: it can spoil a share of the answers, make them late, or send
// requests to other applications, for everybody or for some users alone. A Page
// stands between whoever judges and the edge's metrics page: it can be silent,
// empty, old, or say what is no number. A Feed collects what the lines of a program
// say.
//
// A caller (1) puts a Front before the applications, starts an edge that sends
// to it, and a Page before the edge's admin server; (2) lets a program judge by
// the page; (3) injects a fault, and waits for what the program's Feed says of
// it; (4) heals; (5) closes all, the last opened first.
//
// What is not spoiled goes through as it is: bodies are streamed, connections
// are kept, and a relay never sends a request twice. An answer is spoiled after
// the application has done its work, as it is when an application dies late. The
// package listens on loopback alone. All methods may be called concurrently.
package faults
