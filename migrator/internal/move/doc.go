// Package move takes buckets from one shard to another while their users go on
// writing.
//
// The protocol, one file a step: the buckets' rows are copied (copy.go) while
// the row changes since the start of the copy wait in the source's binlog; the
// tail applies these, in order and each at least once (tail.go, apply.go); the
// servers compare checksums (verify.go); the proxies hold the buckets (hold.go);
// the fence freezes them at the source and the tail catches up with the freeze
// (freeze.go); one row changes from frozen to moved at the source, which is the
// commit point, and from incoming to active at the target (switch.go); the map
// is published (publishing.go); and the target's changes are applied to the old
// home for as long as the operator wants to be able to go back (soak.go).
//
// A caller must (1) Start or Load a move; (2) hold the journal's lock: Run and
// the others take it; (3) Run until the move rests in soaking, aborted or done.
//
// Why no write is lost: a write commits only under a shared lock of the
// bucket's fence row while it is active. The freeze needs that row alone, so
// every committed write is before the freeze in the source's binlog, and the
// commit point comes after the tail has applied the freeze. Why none is applied
// twice: rows are replaced by their whole image, and the tail's position is
// saved in the transaction that wrote the rows. Why a migrator that woke up
// late does no harm: every change it makes, rows included, is in a transaction
// with a compare-and-swap on a token that its successor has changed.
//
// Why a step may be journaled beside its act, or after it. Up to freezing the
// journal comes first. From the commit point on it follows, since users wait:
// switching is journaled beside the activation, publishing beside the
// publication. That is safe because nobody decides by these two entries alone.
// A journal that still says freezing is settled by the source's rows: all moved,
// and the move goes on to switching; frozen, and the rows are made active again.
// Which of the two it is does not change any more once they have been read: the
// token is the new run's, and the old run's commit would not find it. Then both
// acts may be done a second time: the activation is a compare-and-swap from
// incoming to active that a row which is active already, under this move's
// token, has behind it; the publication is one on the map's version and puts the
// same homes and the same epochs, those of the target's rows, where they are.
// Publishing is never journaled before the rows are active, nor soaking before
// the map is published. So whatever the journal lacks has been done or can be,
// and what it says has been done.
//
// The package never retries a commit whose outcome is unknown: it reads what
// became of it. Engine may be used by any number of goroutines, one a move.
package move
