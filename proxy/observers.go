package main

import (
	"time"

	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/proxy/internal/identity"
	"drover/proxy/internal/listen"
	"drover/proxy/internal/metrics"
	"drover/proxy/internal/pool"
)

// tokenObserver counts what becomes of identity tokens.
type tokenObserver struct {
	metrics *metrics.Metrics
	log     *zap.Logger
}

// TokenRefused is identity.Observer's.
func (o tokenObserver) TokenRefused(_ int, refusal identity.Refusal) {
	if refusal == identity.RefusedKey || refusal == identity.RefusedNoKeys {
		o.metrics.Token(metrics.TokenUnknownKey)
		return
	}
	o.metrics.Token(metrics.TokenInvalid)
}

// KeysRead is identity.Observer's.
func (o tokenObserver) KeysRead(source, keys int, err error) {
	if err != nil {
		o.log.Warn("the key set could not be read; going on with the keys of before", zap.Int("identity", source), zap.Error(err))
		return
	}
	o.log.Info("key set read", zap.Int("identity", source), zap.Int("keys", keys))
}

// poolCounters counts what happens to the upstreams' queues and hosts.
type poolCounters struct{ metrics *metrics.Metrics }

// Queued is pool.Counters'.
func (c poolCounters) Queued(dc bucketmap.Datacenter, outcome pool.QueueOutcome, waited time.Duration) {
	c.metrics.Queued(dc, metrics.QueueOutcome(outcome), waited)
}

// Ejected is pool.Counters'.
func (c poolCounters) Ejected(dc bucketmap.Datacenter, upstream string) {
	c.metrics.Ejections.WithLabelValues(string(dc), upstream).Inc()
}

// Forget is pool.Counters'.
func (c poolCounters) Forget(dc bucketmap.Datacenter, upstream string) {
	c.metrics.Ejections.DeleteLabelValues(string(dc), upstream)
}

// refusalOf gives the metric's word for why a connection could not be opened.
func refusalOf(reason string) metrics.Refusal {
	switch reason {
	case listen.ReasonUntrusted, listen.ReasonHeader:
		return metrics.RefusalProxyProtocol
	case listen.ReasonSystem:
		return metrics.RefusalMemory
	default:
		return metrics.RefusalTLS
	}
}
