package push

import (
	"fmt"
	"time"

	"drover/bucketmap"
)

const (
	mapPath = "/map"
	ackPath = "/map/ack"

	// ContentTypeMap is a whole map as package binary writes it.
	ContentTypeMap = "application/vnd.drover.map"
	// ContentTypeDelta is a delta as package binary writes it.
	ContentTypeDelta = "application/vnd.drover.map-delta"
)

// Rules of answers that are this package's own. Those of maps are bucketmap's.
const (
	ruleToken       bucketmap.Rule = "token"
	ruleDelta       bucketmap.Rule = "delta" // for another map
	ruleSize        bucketmap.Rule = "size"
	ruleEncoding    bucketmap.Rule = "encoding"
	ruleBusy        bucketmap.Rule = "busy"
	ruleNotInForce  bucketmap.Rule = "not_in_force"
	ruleRefused     bucketmap.Rule = "refused" // the proxy named no rule
	ruleMethod      bucketmap.Rule = "method"
	rulePath        bucketmap.Rule = "path"
	ruleQuery       bucketmap.Rule = "query"
	ruleUnspecified bucketmap.Rule = "unspecified" // the answer was not a Receiver's
)

// wireAck is a bucketmap.Ack in JSON.
type wireAck struct {
	Proxy   string            `json:"proxy"`
	Version bucketmap.Version `json:"version"`
	Digest  string            `json:"digest,omitempty"` // lower-case hex; none when it is not known
	Since   time.Time         `json:"since"`
	Refused bucketmap.Version `json:"refused,omitempty"`
	Reason  string            `json:"reason,omitempty"`
}

func toWire(a bucketmap.Ack) wireAck {
	w := wireAck{Proxy: a.Proxy, Version: a.Version, Since: a.Since.UTC(), Refused: a.Refused, Reason: a.Reason}
	if a.Digest != (bucketmap.Digest{}) {
		w.Digest = a.Digest.String()
	}
	return w
}

func (w wireAck) ack() (bucketmap.Ack, error) {
	a := bucketmap.Ack{Proxy: w.Proxy, Version: w.Version, Since: w.Since.UTC(), Refused: w.Refused, Reason: w.Reason}
	if !bucketmap.ValidName(w.Proxy) {
		return bucketmap.Ack{}, fmt.Errorf("the acknowledgement is of proxy id %.80q, which is no valid name", w.Proxy)
	}
	if w.Digest == "" {
		return a, nil
	}
	digest, err := bucketmap.ParseDigest(w.Digest)
	if err != nil {
		return bucketmap.Ack{}, fmt.Errorf("the acknowledgement's digest: %w", err)
	}
	a.Digest = digest
	return a, nil
}

// wireRefusal is every answer of a Receiver that is no acknowledgement.
type wireRefusal struct {
	Rule   bucketmap.Rule `json:"rule"`
	Error  string         `json:"error"`
	Remedy string         `json:"remedy"`
	// Ack says what the proxy runs; it is told to none but who has the token.
	Ack *wireAck `json:"ack,omitempty"`
}
