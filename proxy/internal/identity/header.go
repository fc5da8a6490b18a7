package identity

import (
	"bytes"

	"drover/bucketmap"
	"drover/proxy/internal/http1"
)

// byHeader returns the header's value. Every line is looked at: a second one
// with another value leaves doubt about the user.
func byHeader(fields []http1.Field, name string) (user []byte, err error) {
	for i := range fields {
		h := &fields[i]
		if len(h.Name) != len(name) || len(h.Value) == 0 || !EqualFold(h.Name, name) {
			continue
		}
		if user != nil && !bytes.Equal(user, h.Value) {
			return nil, ErrAmbiguous
		}
		user = h.Value
	}
	return user, nil
}

// byCookie returns the cookie's value, of all Cookie lines.
func byCookie(fields []http1.Field, name string) (user []byte, err error) {
	for i := range fields {
		h := &fields[i]
		if !EqualFold(h.Name, "Cookie") {
			continue
		}
		for rest := h.Value; len(rest) != 0; {
			var pair []byte
			pair, rest = cut(rest, ';')
			key, value := cut(bytes.TrimLeft(pair, " \t"), '=')
			if string(key) != name {
				continue
			}
			value = bytes.TrimRight(value, " \t")
			if len(value) == 0 {
				continue
			}
			if user != nil && !bytes.Equal(user, value) {
				return nil, ErrAmbiguous
			}
			user = value
		}
	}
	return user, nil
}

// byBucket returns the bucket that a header gives. A number has one spelling,
// so that two lines agree exactly when their bytes do.
func byBucket(fields []http1.Field, name string) (bucketmap.BucketID, bool, error) {
	value, err := byHeader(fields, name)
	if err != nil || len(value) == 0 {
		return 0, false, err
	}
	const digitsMax = 7
	if len(value) > digitsMax || value[0] == '0' && len(value) > 1 {
		return 0, false, ErrBucket
	}
	bucket := bucketmap.BucketID(0)
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, false, ErrBucket
		}
		bucket = bucket*10 + bucketmap.BucketID(c-'0')
	}
	if bucket >= bucketmap.BucketsMax {
		return 0, false, ErrBucket
	}
	return bucket, true, nil
}

// cut is bytes.Cut for one byte. Where sep is not found, after is nil.
func cut(s []byte, sep byte) (before, after []byte) {
	if i := bytes.IndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, nil
}
