package bucketmap

import "context"

// Stager is a Publisher that can do the slow part of a publication ahead of
// its time: a move publishes its new home while users wait, and stages it
// before they do. A store that gains nothing by it is none; who has such a
// store calls Publish.
type Stager interface {
	// Stage does everything of Publish but the commit point: it compares the
	// version, checks and encodes next, and writes, durably, what the map's
	// readers and the history will need. Its errors are those of Publish, and
	// ErrConflict among them, but for ErrOutcomeUnknown: nothing is in force.
	//
	// Nothing of it is visible before Commit: not to Load, Watch, History and
	// At of any reader. It keeps nobody from publishing or staging the same
	// version meanwhile; the first to commit wins. The record's time is that of
	// the staging.
	//
	// A process that dies with something staged leaves what is never in force
	// and in nobody's way; a later publisher clears it away.
	Stage(ctx context.Context, next *Snapshot, change Change) (Staged, error)
}

// Staged is one version that waits to be put in force. It is committed or
// discarded once, and is not safe for concurrent use.
type Staged interface {
	// Commit puts the version in force, as Publish does. ErrConflict when the
	// map in force is not the one that it was staged upon any more, or what was
	// staged has been cleared away: then nothing was done. ErrOutcomeUnknown
	// when it may or may not be in force, as of Publish. Any other error says
	// that it is not in force. Whatever it returns, the staging has ended: a
	// second Commit returns ErrConflict.
	Commit(ctx context.Context) error
	// Discard clears away what was staged. After Commit it does nothing. An
	// error says that something is left for a later publisher to clear away.
	Discard(ctx context.Context) error
}
