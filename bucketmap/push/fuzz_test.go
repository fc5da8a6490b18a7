package push

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/storetest"
)

// FuzzPut: whatever is sent, the answer is one of those that are promised, and
// only a map that is answered 200 is in force.
func FuzzPut(f *testing.F) {
	one := storetest.First(f)
	two := secondOf(f, one)
	for _, contentType := range []string{"", ContentTypeMap, ContentTypeDelta, "application/yaml"} {
		f.Add(contentType, binary.Append(nil, two, nil))
		f.Add(contentType, binary.AppendDelta(nil, binary.MakeDelta(one, two), nil))
		f.Add(contentType, yamlOf(f, two))
		f.Add(contentType, []byte("x"))
	}
	allowed := map[int]bool{200: true, 400: true, 409: true, 412: true}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		current := one
		r, err := NewReceiver(ReceiverOptions{
			Proxy:   "p1",
			Current: func() *bucketmap.Snapshot { return current },
			Offer: func(_ context.Context, next *bucketmap.Snapshot) error {
				if err := (bucketmap.Guard{Reader: true}).Check(current, next); err != nil {
					return err
				}
				current = next
				return nil
			},
		})
		must(t, err)
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/map", bytes.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		if !allowed[w.Code] || (w.Code == 200) != (current != one) {
			t.Fatalf("answered %d %s, and version %d is in force", w.Code, w.Body, current.Version())
		}
		var v map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
	})
}
