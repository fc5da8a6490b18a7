// Package binary is the form of the map for machines: compact, checked, signed
// when there is a key, and the same bytes for the same map. docs/format.md
// describes it byte by byte.
//
// Decode works in this order: (1) the header: magic, format, kind, flags, and
// a length that must be what follows; (2) the SHA-256 of the content; (3) the
// signature, when keys are given; so nobody without a key reaches what comes
// next; (4) the fields, each within its bounds, in the one form that the
// encoder would have chosen; (5) the map's own check. What is accepted encodes
// to the same bytes again, the signature apart.
//
// The homes of the buckets are written as runs, or, where that is smaller,
// entropy coded: within a few percent of their information, whether there are
// two shards or sixty thousand, evenly filled or not. Whitelisted users are
// sorted and front coded.
//
// A Delta leads from one version to another and is a few bytes for each bucket
// that changes. (1) MakeDelta; (2) AppendDelta; (3) DecodeDelta at the reader;
// (4) Delta.Apply, which compares the digests of the map before and of the map
// after; (5) the whole map where it fails.
//
// The package never reads a file or a socket, never keeps anything between
// calls, and never allocates more than a small multiple of its input and of
// the bucket count, whatever the input claims. Whether a map may replace the
// one in force, it does not ask: that is bucketmap.Guard.
//
// All functions may be called concurrently. Decode reads the whitelist in a
// goroutine of its own, and waits for it before it returns. What Decode and
// DecodeDelta return shares nothing with their input.
package binary
