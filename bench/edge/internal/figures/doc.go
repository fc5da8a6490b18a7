// Package figures makes figures of readings: medians and spreads of rounds,
// and what a Prometheus page says of the time between two readings.
//
// Nothing is kept between calls and nothing is opened; every function may be
// called concurrently. A quantile of a histogram is interpolated within its
// bucket, as histogram_quantile of Prometheus does.
package figures
