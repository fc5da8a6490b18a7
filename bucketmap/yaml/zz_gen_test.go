package yaml

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"drover/bucketmap"
)

func TestZZGen(t *testing.T) {
	d := bucketmap.NewDraft(1048576)
	d.Default.Datacenter = "dc0"
	for i := range 200 {
		d.PutShard(bucketmap.Shard{Name: bucketmap.ShardName(fmt.Sprintf("shard-%03d", i)), Datacenter: bucketmap.Datacenter(fmt.Sprintf("dc%d", i%3))})
	}
	r := rand.New(rand.NewPCG(1, 2))
	ep := os.Getenv("EPOCHS") != ""
	for b := range 1048576 {
		id := bucketmap.BucketID(b)
		if err := d.SetHome(id, id, bucketmap.ShardName(fmt.Sprintf("shard-%03d", r.IntN(200)))); err != nil {
			t.Fatal(err)
		}
		if ep {
			d.Epochs[id] = bucketmap.Epoch(2 + r.IntN(300))
		}
	}
	for i := range 1_000_000 {
		d.Whitelist[fmt.Sprintf("employee-%011d", i)] = bucketmap.Datacenter(fmt.Sprintf("dc%d", i%3))
	}
	s, err := d.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := Encode(s)
	os.WriteFile(os.Getenv("OUT"), text, 0o644)
	js, _ := EncodeJSON(s)
	os.WriteFile(os.Getenv("OUT")+".json", js, 0o644)
	var a, b runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&a)
	t0 := time.Now()
	if _, err := Decode(text); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&b)
	t.Logf("%d bytes, json %d; own: %v, %d MB total", len(text), len(js), time.Since(t0), (b.TotalAlloc-a.TotalAlloc)>>20)
}
