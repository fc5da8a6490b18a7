// Command edge sets Drover's edge beside nginx, haproxy and Go's own reverse
// proxy, in one run.
//
//	go run ./bench/edge                                  all peers, all loads, 5 rounds
//	go run ./bench/edge --rounds 9 --gate                exit 1 unless the edge keeps its promises
//	go run ./bench/edge --load fixed --peers drover,nginx
//	go run ./bench/edge --proxy /tmp/proxy --label mine --json mine.json
//	go run ./bench/edge --retakes 3                      on a machine that is not quiet
//	go run ./bench/edge --profile cpu.pprof              one more round of drover, under its profiler
//	go run ./bench/edge held                             5,000 requests held at once, and released
//	go run ./bench/edge slow                             2,000 slow clients and one that is not
//	go run ./bench/edge restart                          the edge replaced under load, and what is lost; exit 1 if anything is
//
// All peers do the same: 10,000 users, by the header X-User-Id, half to each of
// two datacenters; keep-alive on both sides; no access log. Each has its own
// folder, free ports of loopback, and is stopped at the end. nginx is wanted at
// /usr/sbin/nginx and haproxy at /usr/sbin/haproxy, but only when they are
// among --peers.
//
// The loads:
//
//	saturated   64 connections, each with the next request as soon as it has its answer; the peer has one
//	            worker and core 0, clients and origins have core 1
//	saturated2  the same with two workers, bound to no core
//	fixed       2,000 requests a second, two workers; latency counts from when a request was due
//
// A run, in this order: (1) build ./proxy unless --proxy names one; (2) start
// the yard, the process of clients and origins, whose package says why there
// is only one; (3) one round of each peer that is thrown away; (4) the rounds:
// each load, and in it each peer, in an order that moves on by one each round;
// a peer is started for its turn and stopped after it, and its first second is
// not measured; (5) the tables: medians of the rounds, the least and the
// greatest, and Drover's ratio to each of the others, which is the median of the
// rounds' ratios.
//
// What the columns mean: CPU is what all the peer's processes spent in the
// measured time, from their CPU clocks, for each answered request. Peak memory
// is VmHWM at the end of the turn, summed over the peer's processes.
// Allocations are of the Go peers, from their own metrics. Own time is
// drover_proxy_own_seconds, where the edge has that metric. Yard is how many
// cores clients and origins took: near 1, it is they that were saturated.
// Others is what other processes took: the figures of a machine that is not
// quiet are worth less. With --retakes N a turn in which they took more than
// 0.2 cores is taken again, up to N times, and the least disturbed one counts.
//
// A round with an error, or with an answer from the wrong datacenter or for
// another user, is shown and fails the run.
//
// The command never measures two peers at once and never ends a process that
// it did not start.
package main
