// Package sources builds programs from the sources that the caller runs in, for
// tools and benchmarks that start them.
//
// Build works in this order: (1) it finds the root of Drover's sources, from the
// working folder; (2) one go build there writes every program that was named
// into a folder. Nothing is written into the sources.
//
// Its functions may be called concurrently. The package never runs what it has
// built.
package sources
