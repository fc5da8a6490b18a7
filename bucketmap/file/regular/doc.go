// Package regular reads whole files of which a bound is known, and nothing that
// is no file: somebody may have put anything in a file's place.
//
// Read works in this order: (1) look what is there, links followed; (2) refuse
// what is no regular file, and one larger than the bound; (3) open it without
// waiting; (4) look again, at what was opened; (5) read no more than the bound.
//
// It never waits for a writer, as an ordinary open of a pipe does, never opens a
// device, never allocates more than the bound, and never writes. A file system
// that answers nothing can still keep it: a caller who may not wait for that
// bounds the call.
//
// Read may be called by any number of goroutines.
package regular
