// Package preflight looks at servers before anything is changed on them: are
// they set as a move needs it, do the tables have what it relies on, does the
// fence agree with the map.
//
// It works in this order: (1) read what a server says, in few statements, side
// by side (facts.go, tables_read.go); (2) judge it, without another word to the
// server (settings.go, accounts.go, rows.go, tables.go, triggers.go, ends.go).
// Every check has a name, and gives a Result whether it passed or not; what
// cannot be found out is a result too, never silence. Homes (homes.go) is apart:
// it checks a map that somebody wants to publish by hand.
//
// An Error refuses: rows could be lost, or the move could not end. A Warning
// says what somebody should know and may have decided. A check that refuses
// says what to do.
//
// What no check can see, and the operator must: the free disk at the target,
// which SQL does not show; whether the application writes to the sharded
// tables alone; whether every writer uses the library, where no triggers are
// installed; and user ids that are in the table in another form than in the
// requests, when the table is empty still.
//
// The package changes nothing on any server. It reads no table from end to
// end, with one exception: whether the target has rows of the buckets, in a
// table with no index to ask. A Preflight may be used by any number of
// goroutines.
package preflight
