package yaml

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestZZBig(t *testing.T) {
	run := func(name string, text []byte) {
		var a, b runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&a)
		done, peak := make(chan bool), uint64(0)
		go func() {
			for {
				select {
				case <-done:
					close(done)
					return
				case <-time.After(30 * time.Millisecond):
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					peak = max(peak, m.HeapAlloc)
				}
			}
		}()
		t0 := time.Now()
		_, err := Decode(text)
		d := time.Since(t0)
		done <- true
		<-done
		runtime.ReadMemStats(&b)
		n := b.TotalAlloc - a.TotalAlloc
		t.Logf("%s %d bytes: %v total %d MB %.0f B/B peak %d MB err %.90v", name, len(text), d, n>>20, float64(n)/float64(len(text)), peak>>20, err)
	}
	for _, f := range []string{"plain.yaml", "epochs.yaml", "plain.yaml.json", "epochs.yaml.json"} {
		text, _ := os.ReadFile("/tmp/ym/gen/" + f)
		run(f, text)
	}
	for _, c := range [][3]string{{"a: {", "a,", "}"}, {"a: [", "a,", "]"}, {"", "?\n", ""}, {"a: [", "\"a\":b,", "]"}, {"a: [", "a: b,", "]"}, {"", "a:\n", ""}} {
		perUnit := marks([]byte(strings.Repeat(c[1], 1000))) / 1000
		run(c[0]+c[1], []byte(c[0]+strings.Repeat(c[1], (marksMax-5)/perUnit)+c[2]))
	}
	for _, c := range []string{"# c\n", "a\n", "\n", "#\n", "x", "a: |\n  ", "\" "} {
		run(c, []byte("a: |\n"+strings.Repeat(c, (50<<20)/len(c))))
	}
}
