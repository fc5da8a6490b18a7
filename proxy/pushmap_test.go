package main

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"drover/bucketmap"
	"drover/bucketmap/yaml"
)

func (r *rig) putMap(text []byte) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPut, "http://"+r.admin+"/map", bytes.NewReader(text))
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAPushedMapIsInForceWhenThePushIsAnswered(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.want(r.get("ann"), 200, "legacy")
	first, err := r.store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := first.Edit()
	moveTo(t, bucketOf("ann"), cloud)(d)
	next, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Encode(next)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := r.putMap(text); status != http.StatusOK {
		t.Fatalf("got %d %s", status, body)
	}
	r.want(r.get("ann"), 200, "cloud")
}

func TestAPushOfWhatMayNotComeIntoForceIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	if status, body := r.putMap([]byte("nonsense")); status != http.StatusBadRequest {
		t.Errorf("got %d %s", status, body)
	}
	other := bucketmap.NewDraft(2 * buckets) // of another number of buckets
	other.Version = 9
	other.Default = bucketmap.Default{Datacenter: legacy}
	if err := other.PutShard(bucketmap.Shard{Name: "shard-legacy", Datacenter: legacy}); err != nil {
		t.Fatal(err)
	}
	s, err := other.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := r.putMap(text); status != http.StatusConflict {
		t.Errorf("got %d %s", status, body)
	}
	if v := r.metric("drover_proxy_map_version"); v != 1 {
		t.Errorf("version %v is in force", v)
	}
	r.want(r.get("ann"), 200, "legacy")
}
