// Package accesslog writes the lines of requests: to a file, to stdout or
// stderr, in one of four formats.
//
// The protocol: (1) Open says where, and in what format; (2) Configure tells
// the passports' office; (3) Run writes in the background, until its context
// ends; (4) Close, after the last request, writes what is left. Reopen opens
// the file anew after it was renamed, at any time.
//
//	format.go  the formats, and which requests each is of
//	ncsa.go    common and combined
//	writer.go  the buffer between requests and the file
//	place.go   the file, and how a pipe that nobody reads stops nothing
//
// A request never waits for a disk or a pipe: its line is copied into a buffer
// of bounded size, and dropped and counted when that is full. Lines are whole,
// and in the order in which they were given. No line holds a user id or a
// query; those of json and combined hold two of the client's headers.
//
// A Log may be used by any number of goroutines; Run by one.
package accesslog
