package cli

import (
	"context"
	"fmt"
	"sync"
	"time"

	"drover/migrator/internal/campaign"
	"drover/migrator/internal/parity"
	"drover/migrator/internal/slo"
)

// parityOf asks the proxies how mirrored answers compare. It is safe for
// concurrent use.
type parityOf struct {
	client *parity.Client
	bases  []string
	err    error // why nobody can be asked

	mu    sync.Mutex
	since campaign.Since
	watch parity.Watch
}

// gateParity asks the proxies. Where none can be asked, every look says why.
func (k *campaigns) gateParity(proxies []string) *parityOf {
	client, bases, err := k.openParity(proxies)
	return &parityOf{client: client, bases: bases, err: err}
}

// close ends idle connections to the proxies.
func (p *parityOf) close() {
	if p.client != nil {
		p.client.HTTP.CloseIdleConnections()
	}
}

// Parity judges by what the proxies have compared since the first look of the
// same since.
func (p *parityOf) Parity(ctx context.Context, most float64, since campaign.Since) slo.Verdict {
	v := slo.Verdict{Level: slo.Unknown, At: time.Now()}
	if p.err != nil {
		v.Reason = fmt.Sprintf("no proxy can be asked: %v", p.err)
		return v
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if since != p.since {
		p.since, p.watch = since, parity.Watch{}
	}
	j := p.watch.Judge(parity.Gate{DifferentMax: most}, p.client.Collect(ctx, p.bases), v.At)
	v.Reason = j.Reason
	switch j.Level {
	case parity.Passed:
		v.Level = slo.Healthy
	case parity.Failed:
		v.Level = slo.Burning
	case parity.Unknown:
	}
	return v
}
