package tracer

import (
	"encoding/json"
	"time"

	"drover/bucketmap"
)

// Outcome is what became of one request.
type Outcome string

// The outcomes; see the package's comment.
const (
	Right      Outcome = "right"
	Late       Outcome = "late"
	Misrouted  Outcome = "misrouted"
	Stale      Outcome = "stale"
	Wrong      Outcome = "wrong"
	Duplicated Outcome = "duplicated"
	Lost       Outcome = "lost"
	Failed     Outcome = "error"
)

// Outcomes lists them.
func Outcomes() []Outcome {
	return []Outcome{Right, Late, Misrouted, Stale, Wrong, Duplicated, Lost, Failed}
}

// The kinds of requests.
const (
	KindWrite = "write"
	KindRead  = "read"
)

// Result is one request of a tracer. Empty fields are not known.
type Result struct {
	At      time.Time `json:"at"` // when it was sent
	Proxy   string    `json:"proxy"`
	User    string    `json:"user"`
	Bucket  uint32    `json:"bucket"`
	Kind    string    `json:"kind"` // write or read
	ID      string    `json:"id"`
	Outcome Outcome   `json:"outcome"`
	Why     string    `json:"why,omitempty"` // not right, or right during a change

	// Expected is where the published map has the tracer.
	Expected Place `json:"expected"`
	// Sent is what the proxy decided.
	Sent Sent `json:"sent"`
	// Served is what the application said of itself.
	Served Served `json:"served"`

	Status int   `json:"status,omitempty"`
	Count  int64 `json:"count,omitempty"`
	Times  Times `json:"times"`
	// Passport is the proxy's own record, if it was asked for and had one.
	Passport json.RawMessage `json:"passport,omitempty"`
}

// Place is a place by a version of the map.
type Place struct {
	Version    bucketmap.Version    `json:"version"`
	Datacenter bucketmap.Datacenter `json:"datacenter"`
	Shard      bucketmap.ShardName  `json:"shard,omitempty"`
}

// Sent is a proxy's decision.
type Sent struct {
	Datacenter bucketmap.Datacenter `json:"datacenter,omitempty"`
	Reason     string               `json:"reason,omitempty"`
	Version    bucketmap.Version    `json:"version,omitempty"` // of the proxy's map
	Digest     bucketmap.Digest     `json:"digest,omitzero"`   // of that, by its admin server
	Refused    string               `json:"refused,omitempty"` // the last map that it refused, and why
}

// Served is what an application said of itself.
type Served struct {
	Datacenter bucketmap.Datacenter `json:"datacenter,omitempty"`
	Shard      bucketmap.ShardName  `json:"shard,omitempty"`
	Instance   string               `json:"instance,omitempty"`
}

// Times are in milliseconds since the request began; 0 is what did not happen.
type Times struct {
	ConnectedMS float64 `json:"connected_ms,omitempty"` // 0 on a connection that was open
	SentMS      float64 `json:"sent_ms,omitempty"`
	FirstByteMS float64 `json:"first_byte_ms,omitempty"`
	TotalMS     float64 `json:"total_ms"`
}

// milliseconds is a duration as JSON has it.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
