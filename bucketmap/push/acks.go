package push

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"drover/bucketmap"
)

// unreachable begins the reason of a proxy that could not be asked.
const unreachable = "unreachable: "

var errNotAskedYet = errors.New("it has not answered yet")

// Acks asks every proxy what it runs, and adds the folder's readers. The list
// is sorted by id. A proxy that gives no acknowledgement is listed with
// version 0 and the reason.
func (s *Store) Acks(ctx context.Context) ([]bucketmap.Ack, error) {
	local, err := s.folder.Acks(ctx)
	if err != nil {
		return nil, err
	}
	acks, err := s.askAll(ctx)
	if err != nil {
		return nil, fmt.Errorf("acknowledgements: %w", err)
	}
	acks = append(acks, local...)
	slices.SortFunc(acks, compareAcks)
	return acks, nil
}

// compareAcks orders by id, and those of one id by what they say: two proxies
// that are given one id by mistake must not change places from call to call.
func compareAcks(a, b bucketmap.Ack) int {
	return cmp.Or(
		cmp.Compare(a.Proxy, b.Proxy), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Refused, b.Refused),
		cmp.Compare(a.Reason, b.Reason), a.Since.Compare(b.Since), bytes.Compare(a.Digest[:], b.Digest[:]))
}

// askAll asks every proxy once. It fails only where the proxies are not known,
// or ctx ends.
func (s *Store) askAll(ctx context.Context) ([]bucketmap.Ack, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	proxies, err := s.fleet(ctx)
	if err != nil {
		return nil, err
	}
	acks := make([]bucketmap.Ack, len(proxies))
	var group errgroup.Group
	group.SetLimit(s.options.Parallel)
	for i, p := range proxies {
		group.Go(func() error {
			ack, _, err := s.ask(ctx, p, question{})
			if err != nil {
				ack = missing(p, err)
			}
			acks[i] = ack
			return nil
		})
	}
	_ = group.Wait() // always nil
	return acks, ctx.Err()
}

// missing is listed for a proxy that gave no acknowledgement.
func missing(p *proxy, reason error) bucketmap.Ack {
	return bucketmap.Ack{
		Proxy:  cmp.Or(p.known().id, idOf(p.address)),
		Reason: unreachable + p.address + ": " + reason.Error(),
	}
}

// idOf makes a valid name of the address of a proxy that never said its id.
func idOf(address string) string {
	name := address
	if u, err := url.Parse(address); err == nil {
		name = u.Host + u.Path
	}
	name = strings.Map(func(r rune) rune {
		if r < 0x80 && bucketmap.ValidName("x"+string(r)) {
			return r
		}
		return '_'
	}, name)
	name = strings.TrimLeft(name, ".-_")
	return cmp.Or(name[:min(len(name), bucketmap.NameMax)], "proxy")
}

// question asks for the acknowledgement at once, or, with a tag, for the next
// other one within wait.
type question struct {
	tag   string
	after bucketmap.Version
	wait  time.Duration
}

var errNothingNew = errors.New("nothing new")

// ask asks one proxy. errNothingNew says that the acknowledgement is the one
// of the question's tag.
func (s *Store) ask(ctx context.Context, p *proxy, q question) (ack bucketmap.Ack, tag string, err error) {
	limited, cancel := context.WithTimeout(ctx, s.options.Timeout+q.wait)
	defer cancel()
	address := p.address + ackPath
	if q.tag != "" {
		address += "?" + url.Values{
			"wait": {q.wait.String()}, "after": {strconv.FormatUint(uint64(q.after), 10)},
		}.Encode()
	}
	req, err := http.NewRequestWithContext(limited, http.MethodGet, address, nil)
	if err != nil {
		return bucketmap.Ack{}, "", err
	}
	if q.tag != "" {
		req.Header.Set("If-None-Match", q.tag)
	}
	a, err := s.do(req)
	switch {
	case err != nil:
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the address is said already
		}
		if limited.Err() != nil {
			err = fmt.Errorf("no answer within %s: %w", s.options.Timeout, err)
		}
		if ctx.Err() == nil { // else the question was taken back
			p.gaveNone()
		}
		return bucketmap.Ack{}, "", err
	case a.status == http.StatusNotModified && q.tag != "":
		return bucketmap.Ack{}, q.tag, errNothingNew
	case a.status != http.StatusOK || a.ack == nil:
		p.gaveNone()
		return bucketmap.Ack{}, "", a.failure()
	default:
		p.answered(*a.ack)
		return *a.ack, a.tag, nil
	}
}
