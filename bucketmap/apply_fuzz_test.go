package bucketmap

import (
	"encoding/json"
	"errors"
	"testing"
)

// What Apply accepts is a map like any other, and what it was applied to is
// as before.
func FuzzApply(f *testing.F) {
	from, to := pair(f)
	for _, d := range []*Difference{Diff(from, to), Diff(to, from), Diff(nil, to), Diff(from, from)} {
		text, err := json.Marshal(d)
		must(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"from_version":1,"to_version":2,"from_buckets":10,"to_buckets":1000,"homes":[{"first":0,"last":999,"from":"","to":"alpha"}]}`))
	f.Add([]byte(`{"from_version":1,"to_version":2,"holds":[{"to":{"first":4,"last":4,"move":"m","until":"2026-11-21T10:00:00Z"}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var d Difference
		if json.Unmarshal(text, &d) != nil {
			return
		}
		for _, base := range []*Snapshot{nil, from, to} {
			s, err := base.Apply(&d)
			if err != nil {
				var invalid *InvalidError
				if s != nil || !errors.Is(err, ErrMismatch) && !errors.As(err, &invalid) {
					t.Fatalf("%v, %v", s, err)
				}
				continue
			}
			wantSame(t, s, remake(t, s))
			again, err := base.Apply(Diff(base, s))
			must(t, err)
			wantSame(t, again, s)
			mustSnapshot(t, s.Edit())
		}
		if from.Digest() != remake(t, from).Digest() {
			t.Fatal("the map that it was applied to has changed")
		}
	})
}
