// Package times sums up durations that were measured: quantiles by nearest
// rank, the median with its spread, and how they are printed.
//
// A quantile is always one of the measured times, never a mean of two: of n
// times in order, the share s has the one of rank ceil(s × n), and 0 the first.
// The median of an even number is thus the lower of the two in the middle.
//
// Times are a slice: appending to one needs a lock as any slice's does; the
// methods change nothing, and may be called concurrently.
package times
