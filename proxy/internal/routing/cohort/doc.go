// Package cohort remembers which users were just moved, so that their requests
// can be counted apart from those of users who were not.
//
// A user was just moved when, less than the window ago, this process saw a map
// that gives the user's bucket another home (another shard, or a promoted one,
// or a higher epoch), or that puts the user on the whitelist, takes the user off
// it or sends the user elsewhere by it; a whitelist file counts like the map.
//
// A Set, in this order: (1) Restore, when there is something to restore; (2)
// Change, with each map before it comes into force, and List, with the users
// whom another whitelist file concerns; (3) Settle, once nobody waits for the
// map any more; (4) Of, for each request when it is decided; (5) Append, to keep
// what is known. Steps 1 to 3 come one after the other.
//
// What a request costs: the time of its bucket's last change is in an array, by
// bucket, so that nothing has to be taken out when the window has passed. 4
// bytes a bucket are 4 MiB for the largest map. A promotion concerns the buckets
// of a whole shard, and finding them is a walk over all: until Settle has
// entered them, requests compare their home with the few shards of the last
// version. Whitelisted users are in a table by a hash of their id, which is
// looked at only while one of them is inside the window.
//
// What a version costs is what bucketmap.Diff costs: it follows the pages that
// two maps do not share. Their differences are in memory meanwhile, at worst, a
// map of which every bucket changes to another one than its neighbour, 64 bytes
// each: 64 MiB for the largest map.
//
// Known says since when nothing was missed. It is when the first map came into
// force, unless Restore has filled in what was before. It also moves to now when
// more than UsersMax users come to or leave the whitelist at once: they are not
// followed then. Who judges by cohorts waits until it is a window ago.
//
// The package never does I/O, starts no goroutine, and holds no user id.
//
// Of, Known and Append may be called by any number of goroutines, at any time; Of
// takes no lock and allocates nothing.
package cohort
