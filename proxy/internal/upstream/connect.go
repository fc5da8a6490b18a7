package upstream

import (
	"errors"
	"time"

	"drover/proxy/internal/pool"
)

// connect gets a connection to a host.
func (x *Exchange) connect(h *pool.Host, fresh bool) (*pool.Conn, error) {
	r, f := x.request, x.fleet
	begun := time.Now()
	c, err := h.Acquire(r.Leash, r.Deadline, fresh)
	if err == nil {
		if !c.Reused {
			r.Passport.Parked(time.Since(begun))
		}
		return c, nil
	}
	r.Passport.Parked(time.Since(begun))
	var refused *pool.ConnectError
	switch {
	case errors.Is(err, pool.ErrGone):
		return nil, f.failed(x.pool, KindGone, errGone)
	case errors.Is(err, pool.ErrQueueFull), errors.Is(err, pool.ErrQueueTimeout):
		return nil, f.failed(x.pool, KindLimit, err)
	case errors.As(err, &refused) && refused.Limit:
		return nil, f.failed(x.pool, KindTimeout, err)
	default:
		h.Failed(time.Now())
		return nil, f.failed(x.pool, KindConnect, err)
	}
}
