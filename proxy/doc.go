// Proxy is the edge: every API request enters here and is sent to the
// datacenter that holds its user's data.
//
//	proxy run --config FILE    serve until SIGTERM or SIGINT, then drain
//	proxy check FILE           say what is wrong with a configuration, the files that it names and the map
//	proxy explain --config FILE   say what would become of the request on the standard input
//
// main wires, run works:
//
//	main.go    commands, signals, exit code
//	run.go     the parts, in the order in which they begin and end
//	startmap.go   the first map, and its acknowledgement, before the first client
//	store.go   the map's store, whichever it is
//	pushmap.go   maps that are pushed to the admin server
//	users.go   the whitelist file
//	check.go   what is wrong with a configuration and with the map
//	explain.go, explaintext.go   what the edge would do with a request
//
// The parts are under internal: config, identity, routing (the map in force),
// hold, upstream, edge (the request's way through all of them), passport,
// metrics.
//
// The proxy never writes to the map, never opens a database, and keeps nothing
// but the last good map.
package main
