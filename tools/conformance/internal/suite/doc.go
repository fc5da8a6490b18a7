// Package suite runs cases against one kind of proxy and keeps the score.
//
// Run does everything in this order: (1) prepares the peer's program; (2)
// starts up to Workers peers, each with an origin of its own; (3) gives each
// peer one case after the other; (4) ends every peer and waits for it. A case
// has its peer and origin to itself, so even a request that is too broken to
// be told from another needs no mark. A peer that ends by itself fails the
// case. It is started again, and so is one that still has a request under way
// when its case is over.
//
// Run may be called concurrently; everything that it starts is its own.
package suite
