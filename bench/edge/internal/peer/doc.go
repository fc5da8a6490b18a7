// Package peer runs the edges that are set side by side: drover, nginx,
// haproxy, and a program made of Go's own reverse proxy.
//
// Each, in this order: (1) Start writes a configuration into a folder of its
// own, starts the program there and waits until it answers; (2) a measurement
// is made; (3) Stop sends SIGTERM and, when that was not enough, SIGKILL, to
// the process that was started and to no other.
//
// All decide by the header X-User-Id between the same two origins, keep
// connections to both sides alive, add X-Forwarded-For and write no access
// log. They differ in what else they do: Drover checks its map, keeps its
// metrics and passports and adds its five headers; that is part of its price
// and stays in.
//
// A Peer is for one goroutine. It listens on loopback at free ports alone.
package peer
