package identity

import (
	"errors"
	"fmt"
)

// ErrUnusable is the class of requests that hold a user id, or a bucket, that
// cannot be used. What Find returns is always of it.
var ErrUnusable = errors.New("the request's user id is unusable")

// Why an id is unusable. They are made once: a request's error costs no
// allocation.
var (
	ErrAmbiguous = fmt.Errorf("%w: one source names two users: send one", ErrUnusable)
	ErrTooLong   = fmt.Errorf("%w: it is over 256 bytes: send a shorter one", ErrUnusable)
	ErrEscape    = fmt.Errorf("%w: it has a %% that two hexadecimal digits do not follow: write %%25 for a percent sign",
		ErrUnusable)
	ErrBytes = fmt.Errorf("%w: it has control bytes, or blanks at an end, and no header could carry it: send it without",
		ErrUnusable)
	ErrClaim  = fmt.Errorf("%w: the token's claim is neither a string nor an integer: issue it as one", ErrUnusable)
	ErrBucket = fmt.Errorf("%w: the bucket is no decimal number from 0 to 1048575 without leading zeros: send one", ErrUnusable)
)

// ErrKeys is the class of failures to read a key set. The keys of before, if
// there are any, go on being used.
var ErrKeys = errors.New("the token keys cannot be read")
