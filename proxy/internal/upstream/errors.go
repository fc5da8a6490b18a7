package upstream

import (
	"errors"
	"fmt"

	"drover/bucketmap"
)

// Kind is the class of a failed try. It is a metric label.
type Kind string

// The kinds.
const (
	KindConnect   Kind = "connect"   // no connection: the request never left
	KindLimit     Kind = "limit"     // all connections in use: the request never left
	KindSent      Kind = "sent"      // broken off after something was sent: the outcome is not known
	KindTimeout   Kind = "timeout"   // no answer in time: the outcome is not known
	KindMalformed Kind = "malformed" // the answer is no HTTP
	KindBody      Kind = "body"      // the client's body failed; see the cause
	KindGone      Kind = "gone"      // the client is gone, or the edge cut the request off
	KindTruncated Kind = "truncated" // the answer's body broke off
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{KindConnect, KindLimit, KindSent, KindTimeout, KindMalformed, KindBody, KindGone, KindTruncated}
}

// ErrMapChanged says that the gate refused: the request must be decided again.
// Nothing was sent.
var ErrMapChanged = errors.New("the map has changed since the request was decided")

// Error is a request that no upstream answered.
type Error struct {
	Kind       Kind
	Datacenter bucketmap.Datacenter
	Err        error
}

func (e *Error) Error() string {
	return fmt.Sprintf("upstream of %s: %s: %v", e.Datacenter, e.Kind, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// neverLeft says whether the request provably did not reach an application.
func neverLeft(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && (failed.Kind == KindConnect || failed.Kind == KindLimit)
}

// Errors of a client's body.
var (
	ErrBodyTooLarge  = errors.New("the body is longer than limits.body")
	ErrBodyTruncated = errors.New("the client broke off its body")
	ErrBodyTimeout   = errors.New("the client sent nothing of its body for timeouts.idle")
	ErrBodyMalformed = errors.New("the body's framing is malformed")
)

// errGone is a request whose Leash was cut.
var errGone = errors.New("the client is gone")
