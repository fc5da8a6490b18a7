// Package binlog reads the committed transactions of a server from its binary
// log, and of each the row changes of chosen tables.
//
// A reader (1) opens a Stream at a position, and may say by Keep which rows it
// wants; (2) receives whole transactions, in commit order, until (3) it cancels
// the context, or the stream ends with an error.
//
// Values are what Column.Read gives, byte for byte: docs/types.md lists the
// types. A transaction comes whole or not at all. It is in memory until then,
// TransactionMax at most, or Stream.Bound, and a larger one ends the stream: a part of it with a
// position would be half a transaction after a restart. A broken connection is
// opened again from the last whole transaction, by the stream itself; what was
// cut off is read again from its beginning, and what was passed on before is
// dropped.
//
// What cannot be read without loss ends the stream with ErrUnreadable, and
// nothing is skipped in silence: a change of a table's shape, statements in the
// place of rows (statement.go says how they are told), partial row images, XA,
// transactions out of the order of their domain, events of an unknown kind.
//
// The package never writes to a server. A Stream belongs to one goroutine.
package binlog
