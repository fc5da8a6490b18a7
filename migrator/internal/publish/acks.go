package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drover/bucketmap"
)

// ErrNotAcknowledged says that a live proxy did not say in time that it runs a
// version of the map.
var ErrNotAcknowledged = errors.New("not every proxy has acknowledged the map")

// Late is a live proxy that does not run a map, and why.
type Late struct {
	Proxy   string            `json:"proxy"`
	Version bucketmap.Version `json:"version"` // that it runs, 0 for none
	Reason  string            `json:"reason"`

	refused bool // it will not take this map, however long one waits
}

// LateError lists the proxies that do not run a map. It is an
// ErrNotAcknowledged.
type LateError struct {
	Version bucketmap.Version
	Waited  time.Duration // the limit
	Late    []Late
}

func (e *LateError) Error() string {
	texts := make([]string, len(e.Late))
	for i, late := range e.Late {
		texts[i] = fmt.Sprintf("%s runs %d: %s", late.Proxy, late.Version, late.Reason)
	}
	return fmt.Sprintf("%s: version %d within %s: %s", ErrNotAcknowledged, e.Version, e.Waited, strings.Join(texts, "; "))
}

// Is makes every LateError an ErrNotAcknowledged.
func (e *LateError) Is(target error) bool { return target == ErrNotAcknowledged }

// LateOf returns those of the acknowledgements that are not of this map or a
// newer one. A proxy whose digest is not known is believed by its version.
func LateOf(snap *bucketmap.Snapshot, acks []bucketmap.Ack) []Late {
	var late []Late
	for _, ack := range acks {
		if reason := whyLate(snap, ack); reason != "" {
			late = append(late, Late{ack.Proxy, ack.Version, reason, ack.Refused == snap.Version()})
		}
	}
	return late
}

func whyLate(snap *bucketmap.Snapshot, ack bucketmap.Ack) string {
	version := snap.Version()
	switch {
	case ack.Version > version:
		return ""
	case ack.Version == version && (ack.Digest == bucketmap.Digest{} || ack.Digest == snap.Digest()):
		return ""
	case ack.Refused >= version:
		return fmt.Sprintf("refused %d: %s", ack.Refused, ack.Reason)
	case ack.Version == version:
		return fmt.Sprintf("another map of that version, digest %.12s instead of %.12s; publish the next version", ack.Digest, snap.Digest())
	case ack.Refused != 0:
		return fmt.Sprintf("%d behind; it refused %d before: %s", version-ack.Version, ack.Refused, ack.Reason)
	case ack.Reason != "":
		return ack.Reason // why it cannot be asked
	default:
		return fmt.Sprintf("%d behind, and has refused nothing", version-ack.Version)
	}
}

// WaitAcks waits until every live proxy runs this map, by version and digest,
// or a newer one. The error is a *LateError that names those that do not; it
// comes before the limit when each of them has refused the map.
func (p *Publisher) WaitAcks(ctx context.Context, snap *bucketmap.Snapshot, limit time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	late := &LateError{Version: snap.Version(), Waited: limit}
	done := false
	err := p.Store.WatchAcks(waiting, func(acks []bucketmap.Ack) bool {
		late.Late = LateOf(snap, acks)
		done = len(late.Late) == 0
		return slices.ContainsFunc(late.Late, func(l Late) bool { return !l.refused })
	})
	switch {
	case done:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case waiting.Err() != nil || err == nil:
		if len(late.Late) == 0 { // the time was up before anybody was heard
			return fmt.Errorf("%w: version %d within %s: the store did not say which proxies there are", ErrNotAcknowledged, snap.Version(), limit)
		}
		return late
	default:
		return fmt.Errorf("wait for acknowledgements of version %d: %w", snap.Version(), err)
	}
}
