// Conformance judges an HTTP/1.1 proxy by what it does on raw sockets, case by
// case, each with the section of the RFC that decides.
//
//	go run ./tools/conformance --peer drover|nginx|haproxy|all [--case REGEX] [-v]
//
// It starts the peer on free ports of loopback with a scripted origin behind
// it, in this order: (1) builds Drover or finds the other program; (2) starts
// the peers, see internal/peer; (3) plays every case of internal/cases, see
// internal/script; (4) prints what failed, with what was got and wanted, and a
// score per group. It exits with 1 if Drover fails a case: the scores of the
// others are a comparison.
//
// Where the RFC leaves a choice, a case allows each of the choices. Where
// Drover's own contract is narrower, the case says so and holds Drover alone
// to it.
//
// It never talks to anything but loopback, writes only into a temporary
// folder, and ends only what it started.
package main
