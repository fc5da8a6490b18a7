package binary

import (
	"encoding/binary"

	"drover/bucketmap"
)

// The whitelist is its length in bytes, how many users there are, and each
// one's id, as a key, and datacenter. With the length, a reader goes on with
// the homes while the whitelist's tables are made.

func appendWhitelist(dst []byte, w *bucketmap.Whitelist, datacenters map[bucketmap.Datacenter]uint64) []byte {
	users := binary.AppendUvarint(nil, uint64(w.Len()))
	prev := ""
	for id, dc := range w.All() {
		users = appendKey(users, prev, id)
		users = binary.AppendUvarint(users, datacenters[dc])
		prev = id
	}
	dst = binary.AppendUvarint(dst, uint64(len(users)))
	return append(dst, users...)
}

// whitelist begins to read the whitelist and stands after it at once. The
// caller must call wait, which returns when the goroutine has ended.
func (r *reader) whitelist(datacenters []bucketmap.Datacenter) (wait func() (*bucketmap.Whitelist, error)) {
	size := r.count(1, "bytes of the whitelist")
	section := &reader{data: r.data[:r.off+size], off: r.off, err: r.err}
	r.bytes(size, "whitelist")
	done := make(chan *bucketmap.Whitelist, 1)
	go func() { done <- section.users(datacenters) }()
	return func() (*bucketmap.Whitelist, error) { return <-done, section.finish() }
}

// users reads the whitelist, while its tables are made.
func (r *reader) users(datacenters []bucketmap.Datacenter) *bucketmap.Whitelist {
	at := r.off
	// Two bytes of id and a datacenter.
	count := r.count(3, "users on the whitelist")
	keys := keyReader{reader: r, what: "user id", lengthMax: bucketmap.UserIDMax}
	w, err := bucketmap.NewSortedWhitelist(count, func(yield func([]byte, bucketmap.Datacenter) bool) {
		for range count {
			id, dc := keys.pass(), r.place(datacenters, "datacenter of a user")
			if r.err != nil || !yield(id, dc) {
				return
			}
		}
	})
	if err != nil {
		r.fail(at, "whitelist: %v", err)
	}
	return w
}
