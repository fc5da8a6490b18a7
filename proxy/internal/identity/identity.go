package identity

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"drover/bucketmap"
)

// Options are what a Finder needs of its surroundings. The zero value is good.
type Options struct {
	Observer Observer         // nil: nobody is told
	Client   *http.Client     // reads key sets; nil: one with bounds of its own
	Now      func() time.Time // nil: time.Now
}

// Observer is told what metrics and logs want to know. Its methods are called
// by any number of goroutines and must not block. source is the index in the
// configured list.
type Observer interface {
	// TokenRefused is called for each request whose token made no user.
	TokenRefused(source int, refusal Refusal)
	// KeysRead is called after each attempt to read a key set: err says why
	// the keys of before stay, or keys how many there are now.
	KeysRead(source, keys int, err error)
}

// unobserved is the Observer of those who want none.
type unobserved struct{}

func (unobserved) TokenRefused(int, Refusal) {}
func (unobserved) KeysRead(int, int, error)  {}

func (o Options) withDefaults() Options {
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	if o.Client == nil {
		o.Client = newClient()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Finder looks for user ids. Its configuration is immutable.
type Finder struct {
	places []place
	owned  owned
	client *http.Client
}

// Found is what Find found. It keeps a buffer between calls, so a connection
// keeps one Found: then Find allocates nothing.
type Found struct {
	// User is the user id, or empty. It aliases the request or this Found: it
	// is good until either is used again.
	User []byte
	// Bucket was given directly when HasBucket; User is empty then. Whether
	// the map has such a bucket is for the caller to check.
	Bucket    bucketmap.BucketID
	HasBucket bool
	// Source is the index of the source that gave User or Bucket, or the
	// error; -1 is none.
	Source int

	scratch []byte // for decoded ids; its capacity is scratchSize
}

// scratchSize holds the longest id.
const scratchSize = bucketmap.UserIDMax // × 10,000 connections = 2.6 MB

// Find looks for the request's user. An error is of class ErrUnusable; User
// and Bucket are empty then, and Source says whose id it is.
func (f *Finder) Find(r *Request, found *Found) error {
	found.User, found.Bucket, found.HasBucket, found.Source = nil, 0, false, -1
	if found.scratch == nil {
		found.scratch = make([]byte, 0, scratchSize)
	}
	for i := range f.places {
		p := &f.places[i]
		var user []byte
		var err error
		switch p.kind {
		case kindHeader:
			if r.Trusted {
				user, err = byHeader(r.Fields, p.name)
			}
		case kindCookie:
			user, err = byCookie(r.Fields, p.name)
		case kindQuery:
			user, err = byQuery(r.Target, p.name, found.scratch)
		case kindPath:
			user, err = p.pattern.find(r.Target, found.scratch)
		case kindJWT:
			user, err = p.verifier.find(r.Fields, found.scratch)
		case kindBucket:
			if r.Trusted {
				found.Bucket, found.HasBucket, err = byBucket(r.Fields, p.name)
			}
		}
		if err == nil && len(user) > bucketmap.UserIDMax {
			err = ErrTooLong
		}
		switch {
		case err != nil:
			found.Source = i
			return err
		case len(user) != 0, found.HasBucket:
			found.User, found.Source = user, i
			return nil
		}
	}
	return nil
}

// Load reads the key sets, once each, within fetchWaitMax. Its error is for
// the log: a finder without keys knows fewer users, and Run goes on trying.
func (f *Finder) Load(ctx context.Context) error {
	errs := make([]error, len(f.places))
	var all sync.WaitGroup
	for i := range f.places {
		if v := f.places[i].verifier; v != nil {
			all.Go(func() { errs[i] = v.keys.refresh(ctx) })
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

// Run keeps the key sets fresh until ctx ends, and returns nil then.
func (f *Finder) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for i := range f.places {
		if v := f.places[i].verifier; v != nil {
			all.Go(func() { v.keys.run(ctx) })
		}
	}
	<-ctx.Done()
	all.Wait()
	f.client.CloseIdleConnections()
	return nil
}
