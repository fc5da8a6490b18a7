package shardlib

import (
	"context"
	"errors"
	"fmt"
	"time"

	"drover/bucketmap"
)

// ReplicaOptions are for ViewStale. Every process of an application must have
// the same: a process that is not Enabled gives out no tokens of its writes.
type ReplicaOptions struct {
	// Enabled lets ViewStale use replicas, and has COMMIT tell its GTID. That is
	// one statement and one round trip as before, but MariaDB's own: a proxy for
	// SQL between here and the servers must let it through. On a server that
	// does not know it, COMMIT is plain, and no token can be given out.
	Enabled bool
	// Timeout bounds the wait for a sample of the primary, and, besides
	// Staleness.Wait, the wait for the replica's first answer, a new connection
	// included. After it the primary is read. Default 500 ms.
	Timeout time.Duration
}

// Staleness says how old a read of ViewStale may be, and what it must see all
// the same.
type Staleness struct {
	// Max is by how much the read may be behind: it sees everything that was
	// committed at the user's home up to Max before the function is called. It
	// must be more than 0; of a primary that is 80 ms away, less than that cannot
	// be proven, and about a second spares most of the waits for a sample.
	Max time.Duration
	// Token is what Token or TokenNow returned for this user, in whatever
	// process: the read sees all writes that it covers. One that is of another
	// user, or no token at all, is as good as none.
	Token string
	// WithoutToken reads a replica though no token says what the user wrote by
	// way of other processes: such a write can be unseen for Max. It is for data
	// that is not the user's own doing, a stranger's look at a page. This
	// process's own writes for the user are seen all the same.
	WithoutToken bool
	// Wait is how long to wait for a replica that is behind, before the primary
	// is read instead. Default 0: no wait; at most 1 s.
	Wait time.Duration
}

// StalenessWaitMax bounds Staleness.Wait, which holds a connection.
const StalenessWaitMax = time.Second

// ViewStale is View for reads that may be old by a bound: where the user's home
// is in another datacenter, and the shard list names a server of the shard in
// the own one, that replica is read if it is proven to be fit, and the primary,
// as by View, if not. Tx.Replica says which it is.
//
// A read of a replica sees, in one snapshot:
//
//   - all that was committed at the user's home up to Staleness.Max before fn
//     is called, whoever wrote it. This is measured by GTID and this process's
//     own clock, and not by what the replica says of its lag;
//   - all writes by an Update of this Library that ended before ViewStale was
//     called, however long ago, also when the bucket moved meanwhile. One that
//     ended with ErrOutcomeUnknown keeps the user's reads at the primary for
//     CacheOptions.MarkTTL;
//   - all writes that Staleness.Token covers;
//   - a bucket whose row in the replica's fence is readable, with the epoch that
//     the map gives it or a later one: never what a shard kept of a bucket that
//     has moved, as far as Max and the map of this process reach.
//
// Without a token a user's write by way of another process could be unseen for
// Max. So without one the primary is read, unless Staleness.WithoutToken says
// that this is no harm. A later ViewStale may see an older state than an
// earlier View or ViewStale did, of all but the user's own writes.
//
// fn may run twice: what fails on the replica is run again at the primary, also
// a statement that the replica refuses. It must be a read. What it returns must
// not be cached for anybody else, by Cached above all. The errors are those of
// View. The replica must be a copy without filters, of MariaDB, with
// gtid_strict_mode on.
func (l *Library) ViewStale(ctx context.Context, user bucketmap.UserID, s Staleness, fn func(context.Context, *Tx) error) error {
	if s.Max <= 0 || s.Wait < 0 || s.Wait > StalenessWaitMax {
		return fmt.Errorf("shardlib: Staleness: Max %v, Wait %v: want Max more than 0, Wait 0 to %v", s.Max, s.Wait, StalenessWaitMax)
	}
	why := whyNoHome
	if home, err := l.Home(user); err == nil {
		r := staleRead{library: l, user: user, home: home, staleness: s, fn: fn, mapSince: *l.mapSince.Load()}
		var done bool
		if done, why, err = r.run(ctx); done {
			l.metrics.staleReads.WithLabelValues("replica", string(why)).Inc()
			return err
		}
	}
	l.metrics.staleReads.WithLabelValues("primary", string(why)).Inc()
	return l.View(ctx, user, fn)
}

// Replica says whether the transaction reads a replica. It is true in ViewStale
// alone.
func (tx *Tx) Replica() bool { return tx.replica }

// why a read of ViewStale was of the server it was of; a metrics' label.
type why string

const (
	whyProven  why = "proven"  // the replica is fit, and was read
	whyNoHome  why = "no_home" // the map gives the user no home
	whyOff     why = "off"     // Config.Replicas.Enabled
	whyLocal   why = "local"   // the primary is in the own datacenter
	whyNone    why = "none"    // the list has no server of the shard here
	whyNoToken why = "no_token"
	whyToken   why = "bad_token"
	whyUnsure  why = "unsure"      // a write of the user's has no known outcome
	whySample  why = "no_sample"   // the primary did not say what it has
	whyAway    why = "unreachable" // the replica did not answer
	whyBehind  why = "behind"      // it is further behind than Max
	whyOwn     why = "own_write"   // it has not what the user wrote
	whyDomain  why = "domain"      // it lacks a GTID domain, or several make the order unknown
	whyFence   why = "fence"       // the bucket or the shard is not readable there, or has no row
	whyEpoch   why = "epoch"       // its fence is older than the map
	whyPrimary why = "promoted"    // the shard has another primary than the map says
	whyFailed  why = "failed"      // a statement failed there
)

var whyPrimaryRead = []why{whyNoHome, whyOff, whyLocal, whyNone, whyNoToken, whyToken, whyUnsure, whySample, whyAway,
	whyBehind, whyOwn, whyDomain, whyFence, whyEpoch, whyPrimary, whyFailed}

// staleRead is one call of ViewStale.
type staleRead struct {
	library   *Library
	user      bucketmap.UserID
	home      Home
	staleness Staleness
	fn        func(context.Context, *Tx) error
	mapSince  time.Time // since when the map of home, or a later one, is known

	sampler *sampler
	samples []sample
	known   evidence // of this process
	token   evidence
}

// run reads the replica, or says why not.
func (r *staleRead) run(ctx context.Context) (done bool, reason why, err error) {
	l := r.library
	if reason := r.eligible(); reason != "" {
		return false, reason, nil
	}
	now := time.Now()
	r.known = l.writes.known(r.user, r.home)
	if r.known.after.After(now) {
		return false, whyUnsure, nil
	}
	oldest := now.Add(-r.staleness.Max)
	if oldest.Before(r.known.after) {
		oldest = r.known.after
	}
	waiting, cancel := context.WithTimeout(ctx, l.config.Replicas.Timeout)
	defer cancel()
	if r.sampler, r.samples, err = l.wantSamples(waiting, r.home, oldest); err != nil {
		return false, whySample, err
	}
	if r.sampler.away() {
		return false, whyAway, nil
	}
	return r.read(ctx)
}

// eligible says why no replica is asked at all.
func (r *staleRead) eligible() why {
	l := r.library
	if !l.config.Replicas.Enabled {
		return whyOff
	}
	if r.home.Datacenter == l.config.Datacenter {
		return whyLocal
	}
	if _, ok := l.Shards().Address(r.home.Shard, l.config.Datacenter); !ok {
		return whyNone
	}
	if r.staleness.Token == "" {
		if r.staleness.WithoutToken {
			return ""
		}
		return whyNoToken
	}
	token, err := parseToken(r.user, r.staleness.Token)
	if errors.Is(err, errToken) {
		return whyToken
	}
	r.token = token
	return ""
}

// judge says whether what the replica showed before and in its snapshot is
// enough, and how old the newest sample is that it has reached.
func (r *staleRead) judge(k looked, now time.Time) (age time.Duration, reason why) {
	switch {
	case k.shard.state == "" || k.bucket.state == "":
		return 0, whyFence
	case k.own: // promoted: the map here is older
		return 0, whyPrimary
	case !k.shard.state.Readable() || !k.bucket.state.Readable():
		return 0, whyFence
	case k.shard.epoch < r.home.ShardEpoch || k.bucket.epoch < r.home.Epoch:
		return 0, whyEpoch
	}
	reason = whyBehind
	for i := len(r.samples) - 1; i >= 0; i-- {
		one := r.samples[i]
		if age = now.Sub(one.begun); age > r.staleness.Max {
			break
		}
		switch {
		case one.primary != k.primary:
			return 0, whyPrimary
		case !k.position.reached(one.position):
			if !k.position.knows(one.position) {
				reason = whyDomain
			}
			continue
		case len(one.position) > 1 && (k.bucket.epoch != r.home.Epoch || one.begun.Before(r.mapSince)):
			// Within a domain a replica that shows a bucket active has all its rows.
			// Across domains there is no order: the sample must be of a time when the
			// bucket was known to be there.
			return 0, whyDomain
		case !r.token.seen(k.bucket.epoch, k.position, one.begun) || !r.known.seen(k.bucket.epoch, k.position, one.begun):
			return 0, whyOwn
		}
		return age, whyProven
	}
	return 0, reason
}
