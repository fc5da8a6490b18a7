package pool

import (
	"time"

	"drover/bucketmap"
)

// QueueOutcome is how a request that found all connections in use went on. It
// is a metric label.
type QueueOutcome string

// The outcomes.
const (
	QueueServed  QueueOutcome = "served"  // a connection, or the right to make one
	QueueFull    QueueOutcome = "full"    // no place
	QueueTimeout QueueOutcome = "timeout" // waited too long
	QueueGone    QueueOutcome = "gone"    // the client went away
)

// QueueOutcomes lists every outcome.
func QueueOutcomes() []QueueOutcome {
	return []QueueOutcome{QueueServed, QueueFull, QueueTimeout, QueueGone}
}

// Counters counts what happens to queues and hosts. Its methods must not wait.
type Counters interface {
	// Queued is a request that met a full host, and how long it waited.
	Queued(datacenter bucketmap.Datacenter, outcome QueueOutcome, waited time.Duration)
	// Ejected is a host ejected for its failures.
	Ejected(datacenter bucketmap.Datacenter, upstream string)
	// Forget is an address that has vanished: its series can be deleted.
	Forget(datacenter bucketmap.Datacenter, upstream string)
}

// uncounted counts nothing.
type uncounted struct{}

func (uncounted) Queued(bucketmap.Datacenter, QueueOutcome, time.Duration) {}
func (uncounted) Ejected(bucketmap.Datacenter, string)                     {}
func (uncounted) Forget(bucketmap.Datacenter, string)                      {}
