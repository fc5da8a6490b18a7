package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what explain says to testdata")

// explainFile explains testdata/explain/NAME.request, whose lines end in LF for
// the sake of editors.
func explainFile(t *testing.T, name string, o explainOptions) (string, error) {
	t.Helper()
	at := func(name string) string { return filepath.Join("testdata", "explain", name) }
	request, err := os.ReadFile(at(name + ".request"))
	if err != nil {
		t.Fatal(err)
	}
	o.config, o.mapFile = at("proxy.yaml"), at("map.yaml")
	o.now = testNow
	if o.peer == "" {
		o.peer = "127.0.0.1"
	}
	var out bytes.Buffer
	err = explain(t.Context(), o, bytes.NewReader(bytes.ReplaceAll(request, []byte("\n"), []byte("\r\n"))), &out, &out)
	return out.String(), err
}

func testNow() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "explain", name)
	if *update {
		writeFile(t, path, got)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (go test -run Explain -update writes it anew): got\n%s\nwant\n%s", path, got, want)
	}
}

func TestExplainSaysWhatTheEdgeWouldDo(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "explain", "*.request"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".request")
		t.Run(name, func(t *testing.T) {
			o := explainOptions{}
			if name == "untrusted" {
				o.peer = "192.0.2.1:4711"
			}
			got, err := explainFile(t, name, o)
			if refused := strings.HasPrefix(name, "refused"); refused != errors.Is(err, errWouldRefuse) || !refused && err != nil {
				t.Errorf("got %v", err)
			}
			golden(t, name+".text", got)
			o.json = true
			got, _ = explainFile(t, name, o)
			golden(t, name+".json", got)
		})
	}
}

// What explain says is what an application gets, to the byte.
func TestExplainSaysWhatGoesUpstream(t *testing.T) {
	t.Parallel()
	p := build(t)
	origin := newRecorder(t)
	p.origin = origin.address
	serving := p.start("p")
	request := "POST /a?b HTTP/1.1\r\nHost: h\r\nX-User-Id: ann\r\nAccept:  x \r\nX-Forwarded-For: 192.0.2.7\r\nDrover-User: eve\r\nContent-Length: 2\r\n\r\nhi"
	got := origin.headOf(t, p.address, request)
	out, err := p.run(request, "explain", "--json", "--config", filepath.Join(p.dir, "p", "proxy.yaml"))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := jsonHead(t, out); got != want {
		t.Errorf("the application got\n%q\nexplain says\n%q", got, want)
	}
	if out, err := p.run("GET / HTTP/1.1\r\n\r\n", "explain", "--config", filepath.Join(p.dir, "p", "proxy.yaml")); exitCode(err) != 2 || !strings.Contains(out, "400") {
		t.Errorf("no Host: %v, %s", err, out)
	}
	if out, err := p.run("", "explain", "--peer", "nobody", "--config", filepath.Join(p.dir, "p", "proxy.yaml")); exitCode(err) != 1 || !strings.Contains(out, "--peer") {
		t.Errorf("no peer: %v, %s", err, out)
	}
	serving.end()
}

// recorder is an application that gives back the bytes of a request's head.
type recorder struct {
	address string
	heads   chan string
}

func newRecorder(t *testing.T) *recorder {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{address: l.Addr().String(), heads: make(chan string, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var head strings.Builder
		for in := bufio.NewReader(c); !strings.HasSuffix(head.String(), "\r\n\r\n"); {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			head.WriteString(line)
		}
		io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") //nolint:errcheck // the client says it
		r.heads <- head.String()
	}()
	t.Cleanup(func() {
		l.Close() //nolint:errcheck // the test is over
		<-done
	})
	return r
}

func (r *recorder) headOf(t *testing.T, address, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	select {
	case head := <-r.heads:
		return head
	case <-time.After(patience):
		t.Fatal("nothing came")
		return ""
	}
}

func jsonHead(t *testing.T, text string) string {
	t.Helper()
	var e explanation
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return e.Head
}

func TestExplainWantsAMap(t *testing.T) {
	path := filepath.Join("testdata", "explain", "proxy.yaml")
	if _, err := execute(t, "explain", "--config", path); err == nil || !strings.Contains(err.Error(), "--map") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat("/nowhere"); err == nil {
		t.Error("explain has made the map's folder")
	}
	if _, err := execute(t, "explain", "--config", path, "--map", path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}
