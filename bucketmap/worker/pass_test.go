package worker_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"drover/bucketmap"
	"drover/bucketmap/worker"
)

func TestRequestComesToTheApplicationAsItWas(t *testing.T) {
	r := start(t, halves(t, nil), worker.Options{Identity: byQuery}, nil)
	for _, target := range []string{
		"/", "/?", "/x?", "/a//b/", "/a%2Fb%2e%2e/%41", "/a;b,c$&+=:@!~*()[]'?q=a&b=%20+?/", "//evil.example/x", "/x?user=ann&user=bob",
	} {
		if got := r.get(target); got.Target != target || got.Method != http.MethodGet {
			t.Errorf("%s: the application gets %s %s", target, got.Method, got.Target)
		}
	}
	// What the platform writes in another way says the same.
	for target, want := range map[string]string{"/a/./b/%2e%2E/c": "/a/c", "/x?q='a'": "/x?q=%27a%27", "/J\xc3\xb6rg": "/J%C3%B6rg"} {
		if got := r.get(target); got.Target != want {
			t.Errorf("%s: the application gets %s, want %s", target, got.Target, want)
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "GET"} {
		answer, text := r.do(method, "/x", "a body", "X-Twice", "a", "X-Twice", "b", "X-Bytes", "J\xf6rg", "Accept-Encoding", "br, gzip",
			"Content-Type", "text/x", "User-Agent", "me")
		got := r.read(answer, text)
		if got.Method != method || got.Body != "a body" || len(got.Header["X-Twice"]) != 2 || got.Header.Get("Accept-Encoding") != "br, gzip" ||
			got.Header.Get("Content-Type") != "text/x" || string(got.Bytes) != "J\xf6rg" || got.Header.Get("User-Agent") != "me" {
			t.Errorf("%s: %+v", method, got)
		}
	}
}

func TestAnswerComesToTheClientAsItWas(t *testing.T) {
	var zipped bytes.Buffer
	zip := gzip.NewWriter(&zipped)
	_, err := zip.Write([]byte(strings.Repeat("text ", 1000)))
	must(t, err)
	must(t, zip.Close())
	r := start(t, halves(t, nil), worker.Options{}, map[bucketmap.Datacenter]http.HandlerFunc{
		"legacy": func(w http.ResponseWriter, request *http.Request) {
			h := w.Header()
			h.Set("Drover-Secret", "x")
			h.Set("Drover_Secret", "x")
			h.Add("Set-Cookie", "a=1")
			h.Add("Set-Cookie", "b=2")
			switch request.URL.Path {
			case "/zipped":
				h.Set("Content-Encoding", "gzip")
				_, _ = w.Write(zipped.Bytes())
			case "/moved":
				h.Set("Location", "https://elsewhere.example/")
				w.WriteHeader(http.StatusFound)
			case "/none":
				w.WriteHeader(http.StatusNoContent)
			case "/same":
				w.WriteHeader(http.StatusNotModified)
			default:
				w.WriteHeader(http.StatusTeapot)
				_, _ = w.Write([]byte("short and stout"))
			}
		},
	})
	for path, want := range map[string]string{
		"/zipped": "200 " + zipped.String(), "/moved": "302 ", "/none": "204 ", "/same": "304 ", "/tea": "418 short and stout",
	} {
		answer, text := r.do(http.MethodGet, path, "", "Accept-Encoding", "gzip")
		if got := fmt.Sprint(answer.StatusCode, " ", text); got != want {
			t.Errorf("%s: %.100q, want %.100q", path, got, want)
		}
		if len(answer.Header["Set-Cookie"]) != 2 || answer.Header.Get("Drover_Secret") != "" {
			t.Errorf("%s: %v", path, answer.Header)
		}
		for name := range answer.Header {
			if strings.HasPrefix(strings.ToLower(name), "drover") {
				t.Errorf("%s: the client sees %s", path, name)
			}
		}
	}
	// A body that is kept changes nothing about that.
	if answer, _ := r.do(http.MethodPost, "/moved", "body"); answer.StatusCode != http.StatusFound {
		t.Errorf("POST: %s", answer.Status)
	}
	answer, _ := r.do(http.MethodHead, "/tea", "")
	if answer.StatusCode != http.StatusTeapot || answer.ContentLength != int64(len("short and stout")) {
		t.Errorf("HEAD: %s, %d bytes", answer.Status, answer.ContentLength)
	}
}

func TestHeadersAreExposedWhenAsked(t *testing.T) {
	s := halves(t, nil)
	r := start(t, s, worker.Options{ExposeHeaders: true, Identity: byQuery}, nil)
	answer, _ := r.do(http.MethodGet, "/x?user=emp-1", "")
	d := s.Decide([]byte("emp-1"))
	for name, want := range map[string]string{
		"Drover-Datacenter": "cloud", "Drover-Route": "whitelist", "Drover-Map-Version": fmt.Sprint(s.Version()),
		"Drover-Bucket": fmt.Sprint(d.Bucket), "Drover-User": "",
	} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestBodiesStreamBothWays(t *testing.T) {
	const size = 1 << 20
	s := halves(t, nil)
	first := make(chan string, 1)
	r := start(t, s, worker.Options{}, map[bucketmap.Datacenter]http.HandlerFunc{
		"legacy": func(w http.ResponseWriter, request *http.Request) {
			if request.URL.Path == "/talk" {
				// The application answers before the body's end, and reads on.
				if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
					return
				}
				piece := make([]byte, 5)
				if _, err := io.ReadFull(request.Body, piece); err != nil {
					return
				}
				first <- string(piece)
			}
			sum := sha256.New()
			n, err := io.Copy(sum, request.Body)
			fmt.Fprintf(w, "%d %v %x %d", n, err, sum.Sum(nil), request.ContentLength)
		},
	})
	body := make([]byte, size)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(body)
	want := fmt.Sprintf("%d <nil> %x", size, sha256.Sum256(body))
	if answer, text := r.send(http.MethodPost, "/x", bytes.NewReader(body)); text != want+fmt.Sprint(" ", size) {
		t.Errorf("with a length: %s %s, want %s", answer.Status, text, want)
	}
	if answer, text := r.send(http.MethodPost, "/x", io.MultiReader(bytes.NewReader(body))); text != want+" -1" {
		t.Errorf("in chunks: %s %s, want %s", answer.Status, text, want)
	}

	// What is sent arrives before the rest of it is written.
	reader, writer := io.Pipe()
	go func() {
		_, err := writer.Write([]byte("hello"))
		if got := <-first; err == nil && got == "hello" {
			_, err = writer.Write([]byte(" you"))
		}
		writer.CloseWithError(err)
	}()
	if answer, text := r.send(http.MethodPost, "/talk", reader); !strings.HasPrefix(text, "4 <nil>") {
		t.Errorf("%s %s", answer.Status, text)
	}
}

func TestWebSocketPasses(t *testing.T) {
	s := halves(t, nil)
	handler := websocket.Handler(func(c *websocket.Conn) {
		h := c.Request().Header
		_, _ = fmt.Fprintf(c, "%s %s %s|", h.Get("Drover-Datacenter"), h.Get("Drover-Route"), h.Get("Drover-User"))
		_, _ = io.Copy(c, c)
	})
	r := start(t, s, worker.Options{Identity: byQuery}, map[bucketmap.Datacenter]http.HandlerFunc{"cloud": handler.ServeHTTP})
	c, err := websocket.Dial("ws://"+r.addr+"/chat?user=emp-1", "", "http://origin.example")
	must(t, err)
	defer func() { _ = c.Close() }()
	must(t, c.SetDeadline(time.Now().Add(30*time.Second))) // what does not come by then never will
	for _, say := range []string{"", "hello", strings.Repeat("x", 100_000)} {
		want := say
		if say == "" {
			want = "cloud whitelist emp-1|"
		} else if err := websocket.Message.Send(c, say); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Fatalf("%.50q, %v, want %.50q", got, err, want)
		}
	}
}
