package consul

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"drover/bucketmap"
	"drover/bucketmap/binary"
)

var (
	// ErrClosed is returned by a Store after Close.
	ErrClosed = errors.New("the store is closed")
	// ErrPointerGone is returned where the pointer is missing though the history
	// says that a map was in force.
	ErrPointerGone = errors.New("the pointer to the map was deleted")
	// ErrPointerOld is returned by Publish where the history has versions that
	// are newer than the pointer's.
	ErrPointerOld = errors.New("the pointer was set back to an older version than the history's newest")
	// ErrDenied is returned where the token lacks a right.
	ErrDenied = errors.New("consul denies it")
	// ErrUnreachable is returned where Consul gave no answer, or none but that it
	// has no leader.
	ErrUnreachable = errors.New("consul cannot be reached")
	// ErrProxyTaken is returned by Ack where a process that started later uses
	// the same proxy id.
	ErrProxyTaken = errors.New("another live process uses this proxy id; give each proxy its own")
)

// statusError is an answer that is an HTTP status: what Consul's client knows,
// and for some calls forgets.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %s", e.code, e.text) }

const deniedText = "Permission denied" // Consul's words, in a status 403 and within a transaction's errors

// denied names the policy that is needed.
func (s *Store) denied(err error) error {
	p := s.options.Prefix
	return fmt.Errorf("%w: %w; the token needs key_prefix %q { policy = \"read\" }, a proxy's also key_prefix %q { policy = \"write\" } "+
		"and session_prefix \"\" { policy = \"write\" }, and a publisher's key_prefix %q { policy = \"write\" }",
		ErrDenied, err, p+"/", p+"/"+proxiesName+"/", p+"/")
}

// explain turns the error of a request into one that says what to do. ctx is the
// caller's, whose end is an error of its own.
func (s *Store) explain(ctx context.Context, err error) error {
	var status *statusError
	switch {
	case err == nil, errors.Is(err, ErrDenied), errors.Is(err, ErrUnreachable), errors.Is(err, ErrClosed):
		return err
	case s.life.Err() != nil:
		return ErrClosed
	case errors.Is(err, errTokenFile):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case errors.As(err, &status) && status.code == http.StatusForbidden:
		return s.denied(err)
	case errors.As(err, &status) && status.code < http.StatusInternalServerError && status.code != http.StatusTooManyRequests:
		return fmt.Errorf("consul refuses the request: %w", err)
	default:
		return fmt.Errorf("%w: %w; see that the agent at %s runs (consul info) and that its cluster has a leader (consul operator raft list-peers)",
			ErrUnreachable, err, s.options.Address)
	}
}

// notSent says whether a request certainly never reached Consul.
func notSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// passing says whether the agent answered that its cluster is busy or has no
// leader, which an election changes within seconds.
func passing(err error) bool {
	var status *statusError
	return errors.As(err, &status) && (status.code >= http.StatusInternalServerError || status.code == http.StatusTooManyRequests) &&
		!strings.Contains(status.text, sessionText) && !strings.Contains(status.text, "Invalid Session TTL")
}

// refusal is a RefusedError with its cause.
type refusal struct {
	*bucketmap.RefusedError
	cause error
}

func (r *refusal) Unwrap() []error { return []error{r.RefusedError, r.cause} }

// refuse says why what Consul holds is no map. The message has the cause's.
func refuse(rule bucketmap.Rule, version bucketmap.Version, cause error, remedy string) error {
	return &refusal{&bucketmap.RefusedError{Rule: rule, Version: version, Detail: cause.Error(), Remedy: remedy}, cause}
}

// refuseCode is refuse for an error of the codec.
func refuseCode(version bucketmap.Version, what string, err error) error {
	err = fmt.Errorf("%s: %w", what, err)
	switch {
	case errors.Is(err, binary.ErrUnsigned), errors.Is(err, binary.ErrSignature):
		return refuse("signature", version, err, "publish the map anew with a key whose public half the readers have; if nobody published this, look who may write to Consul")
	case errors.Is(err, binary.ErrChecksum):
		return refuse("hash", version, err, remedyRestore)
	case errors.Is(err, binary.ErrFormat):
		return refuse("unreadable", version, err, "upgrade this program: a newer one published the map")
	default:
		return refuse("unreadable", version, err, remedyRestore)
	}
}

const remedyRestore = "restore the keys below the prefix from a snapshot of Consul (consul snapshot restore)"
