// Package haproxy exports the map for HAProxy 2.6 and later, which then decides
// like Drover's own edge.
//
// One export, in this order: (1) make sure that the map says nothing that
// HAProxy cannot do; (2) write the map files into a folder of their own; (3)
// write drover.cfg, which names that folder, into place; (4) the operator, or
// a timer, checks it (haproxy -c) and reloads HAProxy.
//
//	drover.cfg                              a section of defaults, with the rules
//	drover-17-9f3c52d1a0b4/                 the files of version 17
//	    drover-buckets.map                  block of buckets → their codes, packed
//	    drover-powers.map                   place in a block → what to divide by
//	    drover-datacenters.map              code → datacenter
//	    drover-holds.map                    code → when the hold ends
//	    drover-whitelist.map                user id, in hexadecimal → datacenter
//	    drover-backends.map                 datacenter → backend
//
// HAProxy reads it with a second -f, and a frontend takes it up with two lines:
//
//	frontend www from drover
//	    use_backend %[var(txn.drover_backend)]
//
// The bucket is HAProxy's own crc32 converter, which is CRC-32 (IEEE) as long
// as it gets no avalanche argument, modulo the buckets. A line a bucket would
// cost HAProxy hundreds of MB, and its integer maps are searched from the
// first line on. So a line stands for a block of as many buckets as fit into a
// signed 64-bit number, written in the base of how many codes there are, and
// is found by map_str, which is a tree: with two datacenters and no holds 39
// buckets a line, 26,887 lines for the largest map. User ids are in
// hexadecimal because a map file ends a key at the first blank.
//
// What HAProxy cannot do: wait. A request of a held bucket is answered 503
// with Retry-After: 1 until the hold's deadline, a whitelisted user's too,
// unless Options.IgnoreHolds. It takes no part in acknowledgements and does not
// send again what was answered 421. A second line with the identity header
// makes a bad user, also where both lines are the same. Drover-User is left out
// for an id with control bytes, which HAProxy would change in a header that it
// sets.
//
// The package never talks to HAProxy and never reloads it. Export may be called
// concurrently.
package haproxy
