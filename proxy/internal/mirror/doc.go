// Package mirror sends a share of the safe requests of chosen users to a second
// datacenter too, after their users have their answers, and compares: before
// users are moved there, and to see that those who were moved get what they got
// before.
//
// One request, in this order: (1) the edge, which has the answer's head from the
// application, asks Begin, which chooses by method, group and share of the users,
// and takes a place, or none is free and the request is dropped and counted; (2)
// the edge copies the head that it sent, the answer's head and, as it passes it
// on, the answer's body into the Sample; (3) End gives it to a worker; (4) the
// worker looks whether the map still says the same of the user, and nothing of
// the bucket is held; (5) sends the request to the other datacenter, with
// X-Drover-Mirror: 1; (6) compares status, headers and body, JSON field by field,
// but for what the rules ignore and what is known to be noise; (7) when something
// differs, or for a share of the requests anyway, sends the request once more to
// the datacenter that answered the user: what differs there too is no difference
// between datacenters; (8) looks again at the map; (9) counts.
//
// Noise, such as random ids and times in answers, is learned by route class: a
// field is noise once it differed in at least noiseSeenMin probes and one in
// noiseOneIn of all of them, where a probe is a request of step 7 that was not
// sent because something differed. What was counted as different only for fields
// that turn out to be noise counts as noise in the Report from then on. The
// status is never noise, and an answer of which nothing is left to compare is
// not the same, but noise; so is one that differs in too many fields to name.
//
// What is not seen: requests with no user, of other methods than GET and HEAD,
// with a body or an upgrade, held, sent again after a 421, or sent elsewhere
// because their datacenter could not be reached; answers longer than BodyMax.
// The map says that a bucket moves only while it is held.
//
// The package never delays or changes what a client gets: Begin and the Sample
// copy bytes and wait for nothing. It uses no connection, queue or health of the
// edge's own upstreams. Its memory is bounded: see Options. It never logs or
// shows a user id, a cookie, an Authorization or a query; examples show
// shortened values of answers.
//
//	choose.go   which requests
//	sample.go   a request and its answer, while they are copied
//	mirror.go   the workers
//	send.go     the second datacenter
//	compare.go  two answers; json.go and text.go their bodies; path.go names of fields
//	rules.go    what is not compared
//	ledger.go   counts, noise and examples; report.go
//
// Begin, Report and Run may be called concurrently, Run once. A Sample belongs to
// one goroutine at a time.
package mirror
