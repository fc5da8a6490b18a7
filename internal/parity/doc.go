// Package parity is what a proxy says of the requests that it mirrored to
// another datacenter, and what a campaign reads from it: how many answers were
// the same, how many differed, in which fields, and how sure that is.
//
// A proxy gives a Report at GET /mirror; whoever asks several proxies merges
// theirs, and judges what came between two looks by After. The share of
// differing answers comes with its 95 % interval by Wilson. Its upper end counts
// what was mirrored and could not be compared as differing: no data is no good
// news.
//
// The package never reads a request. Its values may be shared once nobody
// changes them.
package parity
