package yaml

import (
	"os"
	"syscall"
	"testing"
	"time"
)

func TestZZBig(t *testing.T) {
	for _, f := range []string{"plain.yaml", "epochs.yaml.json"} {
		text, _ := os.ReadFile("/tmp/ym/gen/" + f)
		var a, b syscall.Rusage
		syscall.Getrusage(0, &a)
		t0 := time.Now()
		_, err := Decode(text)
		d := time.Since(t0)
		syscall.Getrusage(0, &b)
		t.Logf("%s %d bytes: wall %v cpu %v max rss %d MB err %.90v", f, len(text), d, time.Duration(b.Utime.Nano()+b.Stime.Nano()-a.Utime.Nano()-a.Stime.Nano()), b.Maxrss>>10, err)
	}
}
