// Package tracer sends synthetic users through the front door, all the time, and
// says where each landed, whether that was right, and how long it took.
//
// The protocol of one probe, which is one tracer through one proxy: (1) a write
// with an id of its own is sent; (2) a read is sent, whose count must have that
// write; (3) each answer is judged, by itself:
//
//	error       no answer, one with another status, or one that cannot be judged
//	lost        an acknowledged write is not in the count, nor after the grace time
//	duplicated  the count has more writes than were sent
//	wrong       the application that answered is of another datacenter than the
//	            proxy sent the request to, or used another shard than the map says
//	stale       the proxy's map is behind the published one for longer than grace
//	misrouted   it went to another datacenter than the map says, or the proxy runs
//	            another map of the same version
//	late        all is right, and it took too long
//	right
//
// The first that is so is the outcome. What cannot be judged is an error, never
// right: a proxy that does not tell its map version, an answer without the fields
// that the configuration names, a map that cannot be read.
//
// A map change under way is no fault. What an answer is compared with is every
// place that was the tracer's by a map in force between the grace time before the
// request and the moment of judging; before an answer is called misrouted the
// newest map is read, so that a proxy that heard of it earlier is not blamed. A
// request that overlaps a hold or a change of home may take as long as the hold.
//
// A tracer is a user id of a prefix and a number, the lowest number whose bucket
// lives on a shard that has none yet; it stays when its bucket moves. Users with
// the prefix on the map's whitelist are tracers too.
//
// The writes of a run are counted on a date that no other run uses ({date} in the
// templates), so that two runs do not count each other's writes.
//
// The package never retries a request, follows no redirect, changes no map, and
// sends no faster than its rate. Everything that it keeps is bounded.
//
//	options.go   what is sent, and where
//	field.go     what tells where an answer came from
//	users.go     which users are tracers
//	view.go      the published map, and what was in force when
//	count.go     the writes that must be there
//	send.go      one request
//	admin.go     what a proxy's admin server says of its map
//	judge.go     the outcome
//	probe.go     one tracer through one proxy
//	tracer.go    all of them, all the time
//	metrics.go   for Prometheus
//
// A Tracer's methods may be called concurrently, but for Start, which is first,
// and Run, which is called once.
package tracer
