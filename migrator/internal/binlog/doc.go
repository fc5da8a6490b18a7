// Package binlog reads the committed transactions of a server from its binary
// log, and of each the row changes of chosen tables.
//
// A reader (1) opens a Stream at a position; (2) receives whole transactions,
// in commit order, until (3) it cancels the context, or the stream ends with an
// error. A broken connection is opened again from the last whole transaction,
// by the stream itself; what cannot be read without loss (a change of a table's
// shape, statements instead of rows, partial row images, XA) ends the stream
// with ErrUnreadable, and nothing is skipped in silence.
//
// The package never writes to a server. A Stream belongs to one goroutine.
package binlog
