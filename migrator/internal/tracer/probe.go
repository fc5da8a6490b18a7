package tracer

import (
	"context"
	"fmt"
	"time"
)

// patience is how long a write of unknown outcome may still be done: the request's
// own bound, and what the application may take beyond it.
func (t *Tracer) patience() time.Duration { return t.options.Timeout + 30*time.Second }

// rereads is how often a count that is too low is looked at again within the
// grace time: a read may be of a replica.
const rereads = 4

// probe sends a tracer's write and read through a proxy. What ctx cut off gives
// no result.
func (t *Tracer) probe(ctx context.Context, p *door, u *user, write, passports bool) []Result {
	var results []Result
	for _, request := range []*Request{&t.options.Write, &t.options.Read} {
		if !request.sent() || request == &t.options.Write && !write {
			continue
		}
		r, ok := t.one(ctx, p, u, request, passports)
		if !ok {
			break
		}
		results = append(results, r)
	}
	return results
}

// one sends one request, judges and reports it.
func (t *Tracer) one(ctx context.Context, p *door, u *user, request *Request, passports bool) (Result, bool) {
	look := t.beginPassport(ctx, p, passports)
	write := request == &t.options.Write
	m := u.count.begin(write)
	e := t.send(ctx, p, request, u.id, t.nextID())
	if write {
		u.count.end(e.err == nil)
	}
	if ctx.Err() != nil {
		return Result{}, false
	}
	r := t.judge(ctx, p, u, e)
	look.end(ctx, t, u, e, &r)
	t.countIn(ctx, p, u, e, m, &r)
	if ctx.Err() != nil && r.Outcome != Right { // the judging may have been cut off
		return Result{}, false
	}
	t.report(r)
	return r, true
}

// countIn compares an answer's count with the writes that must be there. A lost
// or duplicated write is worse than anything else that is known.
func (t *Tracer) countIn(ctx context.Context, p *door, u *user, e *exchange, m mark, r *Result) {
	if e.err != nil {
		return
	}
	if e.request.Duplicate.Named() {
		again, err := e.document.value(e.request.Duplicate)
		if err == nil && again == "true" { // an application may leave out what is false
			r.not(Duplicated, fmt.Sprintf("write %s was there already: somebody has sent it twice", e.id))
			return
		}
	}
	if !e.request.Count.Named() {
		return
	}
	n, err := e.document.number(e.request.Count)
	if err != nil {
		if r.Outcome != Failed { // else there is a reason already
			r.not(Failed, err.Error())
		}
		return
	}
	if u.count.short(m, n) {
		n = t.reread(ctx, p, u, m, n)
	}
	r.Count = n
	if ctx.Err() != nil {
		return
	}
	if o, why := u.count.take(m, n, t.patience()); o != Right {
		r.not(o, why)
	}
}

// reread looks again at a count that is too low, until it is not, or the grace
// time is over.
func (t *Tracer) reread(ctx context.Context, p *door, u *user, m mark, n int64) int64 {
	request := &t.options.Read
	if !request.sent() || !request.Count.Named() {
		return n
	}
	ticker := time.NewTicker(max(t.options.Grace/rereads, time.Millisecond))
	defer ticker.Stop()
	for range rereads {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return n
		}
		e := t.send(ctx, p, request, u.id, t.nextID())
		if e.err != nil {
			continue
		}
		if again, err := e.document.number(request.Count); err == nil {
			n = again
		}
		if !u.count.short(m, n) {
			break
		}
	}
	return n
}

// passportLook looks for the passport of one request.
type passportLook struct {
	door   *door
	before []string
	err    error
	wanted bool
}

// beginPassport reads the passports that are there before a request.
func (t *Tracer) beginPassport(ctx context.Context, p *door, wanted bool) passportLook {
	l := passportLook{door: p, wanted: wanted && p.Admin != ""}
	if l.wanted {
		l.before, l.err = t.passports(ctx, p)
	}
	return l
}

// end puts the passport into the result, if there is one.
func (l passportLook) end(ctx context.Context, t *Tracer, u *user, e *exchange, r *Result) {
	if !l.wanted || l.err != nil || e.path == "" {
		return
	}
	after, err := t.passports(ctx, l.door)
	if err == nil {
		r.Passport = passportOf(l.before, after, e.request.Method, e.path, u.bucket)
	}
}
