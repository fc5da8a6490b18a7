// Package database is how the migrator talks to the servers of the shards:
// connections with the session it needs, the description of sharded tables,
// and GTID positions.
//
// It never keeps state of a move, and never changes data by itself. A Server
// may be used by any number of goroutines.
package database
