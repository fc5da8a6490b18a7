// Command publish measures how the map reaches the proxies.
//
//	go run ./bench/publish            one Consul server, 200 proxies that watch it
//	go run ./bench/publish versions   1,000 versions in a row under a proxy that serves
//
// The first works in this order: (1) it starts a Consul server and publishes a
// map of 1,048,576 buckets; (2) each proxy is a consul store of its own, with
// its own connections, session and map, in this process: it watches, checks the
// map as the edge does, puts it in force, and acknowledges, one after the other;
// (3) a publisher moves 100 buckets, once all have acknowledged the version
// before. A figure begins when Publish is called. It ends when a proxy has the
// map in force (one figure a proxy and version), and when the publisher's own
// watch of the acknowledgements has seen the last one (one figure a version).
// All proxies and Consul share this machine, so each figure has the work of all
// proxies in it: in a fleet, a proxy applies a version on a machine of its own.
//
// The second works in this order: (1) it starts a proxy, the built binary, with
// a file store and one with Consul, and, each as a process of its own: the
// applications, the load, a publisher to the proxy, and one to where no proxy
// watches, which acknowledges itself; (2) rounds take turns: the same load
// without a publication, with versions published elsewhere, and with versions
// published to the proxy, each once the one before is acknowledged and no sooner
// than --every after it; (3) it prints the medians of the rounds. The 100 ms of
// --every are how long a fleet of 200 takes to have a version and to say so, by
// the first: who publishes version after version, each once it is in force
// everywhere, is no faster. With less, versions come closer together than any
// fleet has them, and what one costs weighs more. What would be
// on other machines, publishers and Consul, runs only where a processor has
// nothing else to do, but shares the disk and the caches: the second kind says
// what their work alone costs, the difference from the third is the proxy's. A
// request's time counts from when it was due, not from when it was sent, so that
// a proxy that stands still cannot hide it. Any answer but the right one fails
// the run.
//
// The program never listens but on loopback, and ends what it started.
package main
