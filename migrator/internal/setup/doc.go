// Package setup makes shards ready for Drover: the tables beside the
// application's, the fence's rows, the fence's triggers.
//
// Who sets an installation up, in this order: (1) Examine every shard, which
// changes nothing; (2) Prepare every shard; (3) publish the first map; (4)
// install the triggers, if writers are to be fenced by them. Every step may be
// taken again after a failure: what is there already is left alone.
//
// The package never writes to a replica, which gets everything by replication,
// never changes a fence row that is there, and never waits for a table's lock
// for longer than users may wait behind it.
//
// All functions may be called concurrently, for different servers.
package setup
