// Package push brings the map to each proxy by itself: the store for
// installations that have neither Consul nor a folder that proxies share.
//
// A Store is the publishers' end. It keeps the map and its history in a
// folder of the operator's machine (package file), and sends each version to
// the admin address of every proxy. A Receiver is the proxy's end.
//
// Publish, in this order: (1) the folder's compare-and-swap puts the map in
// force, or nothing else happens; (2) every proxy is sent the map, at most
// Parallel at once and each within Timeout: what changed since the version
// before where the proxy may run that, else the whole map; (3) Publish
// returns nil whatever the proxies said. A proxy that missed it shows in
// Acks. It gets the newest map from WatchAcks, which repeats this for as long
// as it runs, or from Push. No goroutine outlives the call that started it.
//
// On the wire, below a proxy's base address:
//
//	PUT /map      the map; the answer comes when it is in force
//	    Content-Type: application/vnd.drover.map        package binary's whole map
//	    Content-Type: application/vnd.drover.map-delta  package binary's delta
//	    any other type                                  a whole map or YAML, told apart by its first bytes
//	GET /map/ack  what the proxy runs
//	    ?after=V    the answer waits for a version above V …
//	    If-None-Match: "tag"  … or for another acknowledgement than this one …
//	    ?wait=2s    … for so long at most
//
//	200  in force; the acknowledgement      304  nothing new within wait
//	400  not a map                          401  the token is wanted
//	403  not signed by a known key          409  refused; why, and what to do
//	412  the delta is not for this map      413  larger than BodyMax
//	415  compressed                         503  busy, or not in force in time: send it again
//
// Every answer but 200 and 304 is JSON with rule, error and remedy.
//
// A Receiver, for each PUT: (1) asks for the token; (2) reads the body, within
// its limits; (3) decodes it and looks at the signature; (4) gives it to
// Offer, one map at a time, or to Watch's caller; (5) answers when Offer has
// put it in force, or when Ack says so. A client that goes away meanwhile
// stops nothing: a map is never half in force. What cannot be read or is not
// signed reaches Watch's caller as an error, so that the proxy can count it.
//
// Acks asks every proxy. One that gives no answer is listed with version 0 and
// a reason that begins with "unreachable: ": it may be serving users, so a
// hold does not count as acknowledged while a configured proxy cannot be
// asked. Take a proxy that is gone for good off the list. A proxy that runs
// another map of the same version shows it by its digest.
//
// Load, Watch and Ack of a Store are the folder's, for readers on the
// publishers' machine; Acks lists them beside the proxies. Two machines with
// two folders are two maps: publish from one, or from a folder they share.
//
// The package never sends a map that the folder has not put in force, never
// follows a redirect, never reads a proxy from the environment, and never
// logs. Without keys, anybody with the token can change the map; without a
// token and clients' certificates, anybody who reaches the admin address can.
// A token sent over http can be read on the way: use https, and keys.
//
// A Store and a Receiver may be used concurrently.
package push
