package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"drover/bucketmap"
)

// historyWalkDefault bounds how many versions are looked at, each of which is a
// whole map to load.
const historyWalkDefault = 500

// placement is where a user's requests go, and why.
type placement struct {
	Datacenter bucketmap.Datacenter `json:"datacenter"`
	Reason     string               `json:"reason"`
	Shard      bucketmap.ShardName  `json:"shard,omitempty"` // none: the bucket has no home
	Epoch      bucketmap.Epoch      `json:"epoch"`
	// HomeDatacenter is where the shard lives: a whitelisted user may go elsewhere.
	HomeDatacenter bucketmap.Datacenter `json:"home_datacenter,omitempty"`
	ShardEpoch     bucketmap.Epoch      `json:"shard_epoch,omitempty"`
}

func placementOf(snap *bucketmap.Snapshot, user bucketmap.UserID) placement {
	d := snap.Decide([]byte(user))
	p := placement{Datacenter: d.Datacenter, Reason: d.Reason.String(), Epoch: snap.Epoch(d.Bucket)}
	if home, ok := snap.Home(d.Bucket); ok {
		p.Shard, p.HomeDatacenter, p.ShardEpoch = home.Name, home.Datacenter, home.Epoch
	}
	return p
}

func (p placement) String() string {
	if p.Shard == "" {
		return fmt.Sprintf("%s (%s), no home", p.Datacenter, p.Reason)
	}
	return fmt.Sprintf("%s (%s), home %s in %s", p.Datacenter, p.Reason, p.Shard, p.HomeDatacenter)
}

// explanation is what migrator map explain prints as JSON.
type explanation struct {
	User    bucketmap.UserID   `json:"user"`
	Version bucketmap.Version  `json:"version"`
	Bucket  bucketmap.BucketID `json:"bucket"`
	placement
	Hold *bucketmap.Hold `json:"hold,omitempty"`
	// Since is the first version from which on it has been so, and Change its
	// record. Both are missing when no version looked at says otherwise.
	Since  bucketmap.Version `json:"since,omitempty"`
	Change *historyLine      `json:"change,omitempty"`
	Before *placement        `json:"before,omitempty"` // what the version before Since said
	// Oldest is the oldest version looked at.
	Oldest bucketmap.Version `json:"oldest"`
}

func (a *app) mapExplain() *cobra.Command {
	var version uint64
	var depth int
	c := &cobra.Command{
		Use:   "explain USER",
		Short: "Say where a user's requests go, why, and since when",
		Long: `Say where a user's requests go, why, and since when.

An id that cannot be printed is "hex:" and its bytes in hexadecimal. The history
is searched back for the version that brought the user there; --depth bounds how
many versions are looked at.`,
		Example: `  migrator map explain u-4711
  migrator map explain hex:ff00 --version 41
  migrator map explain -- -id-with-a-dash`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			user, err := bucketmap.ParseUserID(args[0])
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			if depth < 1 {
				return fmt.Errorf("%w: --depth %d: want 1 or more", errUsage, depth)
			}
			if err := a.open(); err != nil {
				return err
			}
			snap, err := a.mapAt(cmd.Context(), bucketmap.Version(version))
			if err != nil {
				return err
			}
			e, err := a.explain(cmd.Context(), snap, user, depth)
			if err != nil {
				return err
			}
			return a.printExplanation(e)
		},
	}
	c.Flags().Uint64Var(&version, "version", 0, "by a version of the history; by the map in force when not given")
	c.Flags().IntVar(&depth, "depth", historyWalkDefault, "look at so many versions at most")
	return c
}

// explain walks the history back from snap for as long as it says the same.
func (a *app) explain(ctx context.Context, snap *bucketmap.Snapshot, user bucketmap.UserID, depth int) (*explanation, error) {
	bucket := bucketmap.Bucket([]byte(user), snap.Buckets())
	e := &explanation{User: user, Version: snap.Version(), Bucket: bucket, placement: placementOf(snap, user), Oldest: snap.Version()}
	if hold, ok := snap.HoldOf(bucket); ok {
		e.Hold = &hold
	}
	records, err := a.store.History(ctx)
	if err != nil {
		return nil, err
	}
	since := bucketmap.Record{Version: snap.Version()}
	for _, r := range records {
		switch {
		case r.Version > snap.Version():
			continue
		case r.Version == snap.Version():
			since = r
			continue
		case depth <= 1:
			return e, nil
		}
		depth--
		old, err := a.store.At(ctx, r.Version)
		if err != nil {
			return nil, fmt.Errorf("version %d of the history: %w; a smaller --depth stops before it", r.Version, err)
		}
		e.Oldest = r.Version
		if was := placementOf(old, user); was != e.placement || old.Buckets() != snap.Buckets() {
			e.Before = &was
			break
		}
		since = r
	}
	if e.Before == nil && e.Oldest != 1 && since.Version != 1 {
		return e, nil // what was before is not in the history
	}
	e.Since = since.Version
	e.Change = &historyLine{Version: since.Version, When: since.When, Who: since.Who, Why: since.Why, Digest: since.Digest}
	return e, nil
}

func (a *app) printExplanation(e *explanation) error {
	if a.json() {
		return a.printJSON(e)
	}
	a.printf("user %s goes to %s: %s\n", e.User, e.Datacenter, reasonText(e))
	a.printf("bucket %d, epoch %d\n", e.Bucket, e.Epoch)
	if e.Shard == "" {
		a.printf("no home\n")
	} else {
		a.printf("home: shard %s in %s, epoch %d\n", e.Shard, e.HomeDatacenter, e.ShardEpoch)
	}
	if h := e.Hold; h != nil {
		what := "buckets " + bucketmap.RangeText(h.First, h.Last)
		if h.Shard != "" {
			what = "shard " + string(h.Shard)
		}
		over := ""
		if !time.Now().Before(h.Until) {
			over = ", which is over"
		}
		a.printf("hold: %s, by %s, until %s%s\n", what, h.Move, h.Until.UTC().Format(time.RFC3339Nano), over)
	}
	if e.Since == 0 {
		a.printf("so in version %d and back to version %d, the oldest looked at\n", e.Version, e.Oldest)
		return nil
	}
	a.printf("since version %d, %s, by %s: %s\n", e.Since, e.Change.When.Format(time.RFC3339), plain(e.Change.Who), plain(e.Change.Why))
	if e.Before != nil {
		a.printf("before: %s\n", e.Before)
	} else {
		a.printf("never otherwise\n")
	}
	return nil
}

func reasonText(e *explanation) string {
	switch e.Reason {
	case bucketmap.ReasonWhitelist.String():
		return "the user is on the whitelist (whitelist)"
	case bucketmap.ReasonBucket.String():
		return "its bucket's home is there (bucket)"
	default:
		return "its bucket has no home, and this is the default (" + e.Reason + ")"
	}
}
