package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/yaml"
)

// putMap takes a map and answers when it is in force, or why it is not.
func (r *Receiver) putMap(w http.ResponseWriter, req *http.Request) {
	select {
	case r.puts <- struct{}{}:
		defer func() { <-r.puts }()
	default:
		closeAfter(w)
		w.Header().Set("Retry-After", "1")
		r.refuse(w, &refusal{http.StatusServiceUnavailable, ruleBusy,
			fmt.Errorf("%d maps are being taken already", putsMax), "send it again in a moment"})
		return
	}
	body, why := r.readBody(w, req)
	if why != nil {
		closeAfter(w)
		r.refuse(w, why)
		return
	}
	got, why := r.decode(req.Header.Get("Content-Type"), body)
	if why != nil {
		r.report(why)
		r.refuse(w, why)
		return
	}
	// The client may go away; what it sent is put in force or refused all the
	// same, because half of either does not exist.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), r.options.ForceWait)
	defer cancel()
	ack, why := r.take(ctx, got)
	if why != nil {
		r.refuse(w, why)
		return
	}
	writeJSON(w, http.StatusOK, toWire(ack))
}

// refuse answers with the refusal and with what the proxy runs.
func (r *Receiver) refuse(w http.ResponseWriter, why *refusal) {
	ack, _, _ := r.acknowledged()
	refuse(w, why, &ack)
}

// readBody reads the body within its limits of bytes and of time.
func (r *Receiver) readBody(w http.ResponseWriter, req *http.Request) ([]byte, *refusal) {
	if coding := req.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, &refusal{http.StatusUnsupportedMediaType, ruleEncoding,
			fmt.Errorf("the body is compressed (%.40q)", coding), "send it as it is: the binary form is small"}
	}
	tooLarge := &refusal{http.StatusRequestEntityTooLarge, ruleSize,
		fmt.Errorf("the body is larger than %d bytes", r.options.BodyMax), "send the map in its binary form, or raise the limit"}
	if req.ContentLength > r.options.BodyMax {
		return nil, tooLarge
	}
	control := http.NewResponseController(w)
	// A server that knows no deadlines has its own bound on reading.
	_ = control.SetReadDeadline(time.Now().Add(r.options.BodyWait))
	var body bytes.Buffer
	if req.ContentLength > 0 {
		body.Grow(int(min(req.ContentLength, growMax))) // what is announced need not come
	}
	_, err := io.Copy(&body, http.MaxBytesReader(w, req.Body, r.options.BodyMax))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge
	case err != nil:
		return nil, &refusal{http.StatusBadRequest, bucketmap.RuleUnreadable, fmt.Errorf("the body ended early: %w", err), "send it again"}
	case body.Len() == 0:
		return nil, &refusal{http.StatusBadRequest, bucketmap.RuleUnreadable, errors.New("the body is empty"), "send the map: curl --data-binary @map.yaml"}
	}
	_ = control.SetReadDeadline(time.Time{})
	return body.Bytes(), nil
}

// growMax is how much room is made at once for a body of a known length.
const growMax = 1 << 20

// received is what a body holds: a map, or a delta to one.
type received struct {
	snapshot *bucketmap.Snapshot
	delta    *binary.Delta
}

// decode reads a body by its type.
func (r *Receiver) decode(contentType string, body []byte) (received, *refusal) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		media = "" // as with none: the first bytes tell
	}
	var got received
	switch {
	case media == ContentTypeDelta || binary.IsDelta(body):
		got.delta, err = binary.DecodeDelta(body, r.options.Keys)
	case media == ContentTypeMap || binary.Is(body):
		got.snapshot, err = binary.Decode(body, r.options.Keys)
	case len(r.options.Keys) != 0:
		return received{}, &refusal{http.StatusForbidden, bucketmap.RuleSignature,
			fmt.Errorf("YAML cannot be signed, and this proxy takes signed maps only: %w", binary.ErrUnsigned),
			"publish it with migrator map publish and the key"}
	default:
		got.snapshot, err = yaml.Decode(body)
	}
	switch {
	case err == nil:
		return got, nil
	case errors.Is(err, binary.ErrUnsigned) || errors.Is(err, binary.ErrSignature):
		return received{}, &refusal{http.StatusForbidden, bucketmap.RuleSignature, err, "sign it with a key of which this proxy has the public half"}
	default:
		return received{}, &refusal{http.StatusBadRequest, bucketmap.RuleUnreadable, fmt.Errorf("what came is no map: %w", err),
			"check it with migrator map verify"}
	}
}

// take puts what was received in force.
func (r *Receiver) take(ctx context.Context, got received) (bucketmap.Ack, *refusal) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return bucketmap.Ack{}, notInForce(errors.New("another map takes very long to come into force"))
	}
	next := got.snapshot
	if got.delta != nil {
		var why *refusal
		if next, why = r.apply(got.delta); why != nil {
			return bucketmap.Ack{}, why
		}
	}
	if r.options.Offer == nil {
		return r.giveAndWait(ctx, next)
	}
	if err := r.options.Offer(ctx, next); err != nil {
		return bucketmap.Ack{}, refusalOf(err)
	}
	if ctx.Err() != nil { // Offer may have returned because of it
		return bucketmap.Ack{}, notInForce(errors.New("a request is still going out by the map before"))
	}
	return r.inForce(next), nil
}

// apply applies a delta to the map in force. It needs r.turn.
func (r *Receiver) apply(delta *binary.Delta) (*bucketmap.Snapshot, *refusal) {
	current := r.current()
	doesNotFit := func(err error) *refusal {
		return &refusal{http.StatusPreconditionFailed, ruleDelta, err, "send the whole map"}
	}
	if current == nil {
		return nil, doesNotFit(errors.New("there is no map yet that a delta could change"))
	}
	if current.Digest() == delta.To {
		return current, nil // sent twice
	}
	if current.Digest() != delta.From {
		return nil, doesNotFit(fmt.Errorf("the delta is for another map than version %d, which is in force", current.Version()))
	}
	next, err := delta.Apply(current)
	if err != nil {
		// It is for this map, and still cannot be applied: a wrong delta. The
		// whole map may be right.
		r.report(&refusal{rule: bucketmap.RuleHash, err: err, remedy: "send the whole map"})
		return nil, doesNotFit(fmt.Errorf("the delta is wrong: %w", err))
	}
	return next, nil
}

// giveAndWait gives the map to Watch's caller and waits for what Ack says.
func (r *Receiver) giveAndWait(ctx context.Context, next *bucketmap.Snapshot) (bucketmap.Ack, *refusal) {
	current := r.current()
	ack, number, _ := r.acknowledged()
	if current != nil && current.Digest() == next.Digest() && ack.Version == next.Version() && runs(ack, next) {
		return ack, nil // sent twice
	}
	if err := bucketmap.CheckSuccessor(current, next); err != nil {
		why := refusalOf(err)
		r.report(why)
		return bucketmap.Ack{}, why
	}
	r.give(next)
	for {
		now, n, changed := r.acknowledged()
		if n != number {
			number = n
			if now.Refused == next.Version() {
				return bucketmap.Ack{}, refusedByAck(now)
			}
			if runs(now, next) {
				return now, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			// One that was refused before is not acknowledged again.
			if now.Refused == next.Version() {
				return bucketmap.Ack{}, refusedByAck(now)
			}
			return bucketmap.Ack{}, notInForce(errors.New("the proxy has not acknowledged it"))
		}
	}
}

func refusedByAck(ack bucketmap.Ack) *refusal {
	return &refusal{http.StatusConflict, ruleRefused, fmt.Errorf("the map is refused, and the one in force stays: %s", ack.Reason),
		"mend what the reason names, and publish the next version"}
}

func notInForce(err error) *refusal {
	return &refusal{http.StatusServiceUnavailable, ruleNotInForce, fmt.Errorf("the map may not be in force yet: %w", err),
		"ask GET " + ackPath + ", or send it again"}
}

// refusalOf turns Offer's error into an answer.
func refusalOf(err error) *refusal {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return notInForce(err)
	}
	why := &refusal{http.StatusConflict, ruleRefused, fmt.Errorf("the map is refused, and the one in force stays: %w", err),
		"mend what the reason names, and publish the next version"}
	var refused *bucketmap.RefusedError
	if errors.As(err, &refused) {
		why.rule, why.remedy = refused.Rule, refused.Remedy
	}
	return why
}
