package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"drover/bucketmap"
)

const (
	// canaryPolls is how often the canary is looked at while it is watched, but
	// not more often than canaryPollMin.
	canaryPolls   = 30
	canaryPollMin = 50 * time.Millisecond
	canaryPollMax = 2 * time.Second
	// canaryBefore bounds the time in which the errors before are counted.
	canaryBefore = 5 * time.Second
	// canaryFewRequests is how many requests say something of the errors: with
	// fewer, those before are taken from the proxy's whole life, and no verdict
	// is given before the time is up.
	canaryFewRequests = 20
	// canaryBackMax bounds what is done to give a canary its map back, also when
	// the command is interrupted.
	canaryBackMax = 30 * time.Second
	// canaryComesMax bounds the wait for a canary that gets its map back by the
	// store.
	canaryComesMax = 5 * time.Second
	// canaryAheadMax bounds the versions that are published to get above the
	// canary's.
	canaryAheadMax = 16
)

// canaryFlags are the flags of a push to one proxy first.
type canaryFlags struct {
	url      string
	lasting  time.Duration
	errors   float64
	requests uint64
}

func (f *canaryFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "canary", "", "URL of a proxy's admin server, such as http://10.0.0.1:9901: it runs the map first")
	flags.DurationVar(&f.lasting, "canary-for", 30*time.Second, "watch the canary so long; 0: until it has acknowledged")
	flags.Float64Var(&f.errors, "canary-errors", 0.01, "by how much the share of errors among the canary's requests may rise")
	flags.Uint64Var(&f.requests, "canary-requests", 1, "how many requests the canary must have had meanwhile: none is no good news")
}

func (f *canaryFlags) check() error {
	switch {
	case f.url == "":
		return nil
	case f.lasting < 0:
		return fmt.Errorf("%w: --canary-for %s: want no less than nothing", errUsage, f.lasting)
	case !(f.errors >= 0 && f.errors <= 1): // not a number is neither
		return fmt.Errorf("%w: --canary-errors %g: want a share, 0 to 1", errUsage, f.errors)
	}
	if _, err := adminBase(f.url); err != nil {
		return fmt.Errorf("%w: --canary: %w", errUsage, err)
	}
	return nil
}

// canaryResult says how the canary did.
type canaryResult struct {
	Proxy    string  `json:"proxy"`
	Before   float64 `json:"errors_before"` // share of the requests
	After    float64 `json:"errors_after"`
	Requests uint64  `json:"requests"` // while it was watched
}

// errCanary says that the canary ran the map and was not well. Nothing that
// differs from the map in force is published.
var errCanary = errors.New("the canary is not well with the map")

// withCanary lets one proxy run the map, watches it, and publishes for all; or
// gives the canary the content of the map in force back.
func (a *app) withCanary(ctx context.Context, f canaryFlags, current, next *bucketmap.Snapshot, publishing func() error) (*canaryResult, error) {
	c, err := a.openCanary(f.url)
	if err != nil {
		return nil, err
	}
	defer c.close()
	ack, err := c.ack(ctx)
	if err != nil {
		return nil, fmt.Errorf("nothing was changed: canary %s: %w", c.base, err)
	}
	if ack.Version != current.Version() || ack.Digest != (bucketmap.Digest{}) && ack.Digest != current.Digest() {
		return nil, fmt.Errorf("%w: nothing was changed: canary %s runs version %d, not the map in force, version %d: "+
			"what it does would prove nothing; migrator map status says why", errRefused, ack.Proxy, ack.Version, current.Version())
	}
	result := &canaryResult{Proxy: ack.Proxy}
	before, err := c.before(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("nothing was changed: canary %s: %w", ack.Proxy, err)
	}
	result.Before = before.share()
	if begun, err := c.put(ctx, next); err != nil {
		err = fmt.Errorf("canary %s: %w", ack.Proxy, err)
		if !begun {
			return nil, fmt.Errorf("%w: nothing was changed: %w", errRefused, err)
		}
		return nil, a.giveBack(ctx, c, next, err)
	}
	a.note("canary %s runs version %d; %s to watch it\n", ack.Proxy, next.Version(), f.lasting)
	if err := c.watch(ctx, f, next, result); err != nil {
		return nil, a.giveBack(ctx, c, next, fmt.Errorf("%w: %s: %w", errCanary, ack.Proxy, err))
	}
	if err := publishing(); err != nil {
		if errors.Is(err, bucketmap.ErrOutcomeUnknown) {
			return nil, err // it may be in force: then the canary runs the right map
		}
		// Not the conflict itself: the canary has been changed meanwhile.
		return nil, a.giveBack(ctx, c, next, fmt.Errorf("the canary was well, but the map could not be published: %w", notConflict(err)))
	}
	a.note("canary %s was well: %.2f%% errors before, %.2f%% of %d requests with version %d\n",
		ack.Proxy, 100*result.Before, 100*result.After, result.Requests, next.Version())
	return result, nil
}

// notConflict keeps the words of a conflict and not its class: the caller would
// say that nothing was changed.
func notConflict(err error) error {
	if errors.Is(err, bucketmap.ErrConflict) {
		return errors.New(err.Error())
	}
	return err
}

// giveBack gives the canary the content of the map in force back, and returns
// why, with what was done about it. As a proxy goes to higher versions alone, the
// store is brought to one above the canary's, each with the content of the one
// before: for all other proxies nothing changes.
func (a *app) giveBack(ctx context.Context, c *canary, bad *bucketmap.Snapshot, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), canaryBackMax)
	defer cancel()
	reason := fmt.Sprintf("version %d goes back: %s", bad.Version(), firstLine(why))
	good, err := a.publishAbove(ctx, bad.Version(), reason)
	if err != nil {
		err = fmt.Errorf("the store could not be brought above version %d: %w", bad.Version(), err)
		return errors.Join(why, err, c.rescue(ctx, a, bad),
			errors.New("run migrator map status, and publish again until the version in force is above the canary's"))
	}
	if _, err := c.put(ctx, good); err != nil {
		// It may have it from the store already.
		if !c.comesToRun(ctx, good) {
			return fmt.Errorf("%w\nversion %d is published with the content of before, and the canary has not got it yet: %w; "+
				"look at migrator map status", why, good.Version(), err)
		}
	}
	return fmt.Errorf("%w\nno other proxy got the map; the canary has the content of before again, which is published as version %d", why, good.Version())
}

// publishAbove publishes the content of the map in force until its version is
// above.
func (a *app) publishAbove(ctx context.Context, above bucketmap.Version, why string) (*bucketmap.Snapshot, error) {
	same := func(*bucketmap.Draft) error { return nil }
	for range canaryAheadMax {
		current, err := a.store.Load(ctx)
		if err != nil {
			return nil, err
		}
		if current.Version() > above {
			return current, nil
		}
		if _, err := bucketmap.Update(ctx, a.store, bucketmap.Change{Who: a.env.Who, Why: why}, same); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("after %d versions it is not above %d yet", canaryAheadMax, above)
}

// note tells people how it goes on; programs get the result.
func (a *app) note(format string, args ...any) {
	if !a.json() {
		fmt.Fprintf(a.errOut, format, args...)
	}
}
