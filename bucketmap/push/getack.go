package push

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"drover/bucketmap"
)

// getAck answers with what this proxy runs, at once or, when it is asked to
// wait, once there is something new.
func (r *Receiver) getAck(w http.ResponseWriter, req *http.Request) {
	ask, bad := readQuestion(req)
	if bad != nil {
		refuse(w, bad, nil)
		return
	}
	ack := r.awaitNews(req.Context(), ask)
	tag := tagOf(ack)
	w.Header().Set("ETag", tag)
	if ask.tag == tag {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	writeJSON(w, http.StatusOK, toWire(ack))
}

// ackQuestion is a question as it was asked.
type ackQuestion struct {
	tag      string // If-None-Match, empty for none
	after    bucketmap.Version
	hasAfter bool
	wait     time.Duration
}

func readQuestion(req *http.Request) (q ackQuestion, bad *refusal) {
	query := req.URL.Query()
	wrong := func(key string, err error, remedy string) (ackQuestion, *refusal) {
		return q, &refusal{http.StatusBadRequest, ruleQuery, fmt.Errorf("%s=%.40q: %w", key, query.Get(key), err), remedy}
	}
	q.tag = req.Header.Get("If-None-Match")
	if text := query.Get("after"); text != "" {
		v, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return wrong("after", err, "give a version, such as after=12")
		}
		q.after, q.hasAfter = bucketmap.Version(v), true
	}
	if text := query.Get("wait"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			return wrong("wait", err, "give a time, such as wait=2s")
		}
		q.wait = min(d, waitMax)
	}
	return q, nil
}

// answers says whether an acknowledgement is what was asked for. Without a
// tag, a refusal of a version above is news as well.
func (q ackQuestion) answers(ack bucketmap.Ack) bool {
	switch {
	case q.hasAfter && ack.Version > q.after:
		return true
	case q.tag != "":
		return tagOf(ack) != q.tag
	default:
		return !q.hasAfter || ack.Refused > q.after
	}
}

// awaitNews returns the acknowledgement that answers the question, or the last
// one when wait is over, the client is gone or too many wait already.
func (r *Receiver) awaitNews(ctx context.Context, q ackQuestion) bucketmap.Ack {
	ack, _, changed := r.acknowledged()
	if q.wait <= 0 || q.answers(ack) {
		return ack
	}
	select {
	case r.waits <- struct{}{}:
		defer func() { <-r.waits }()
	default:
		return ack
	}
	timer := time.NewTimer(q.wait)
	defer timer.Stop()
	for !q.answers(ack) {
		select {
		case <-changed:
			ack, _, changed = r.acknowledged()
		case <-timer.C:
			return ack
		case <-ctx.Done():
			return ack
		}
	}
	return ack
}

// tagOf names an acknowledgement: another one has another tag.
func tagOf(ack bucketmap.Ack) string {
	text, err := json.Marshal(toWire(ack))
	if err != nil {
		return "" // it cannot be sent either
	}
	sum := sha256.Sum256(text)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
