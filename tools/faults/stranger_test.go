package faults

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/http"

	"drover/bucketmap"
	"drover/bucketmap/consul"
)

// publishAs publishes the next version as somebody with another key, or none.
func (w *world) publishAs(key ed25519.PrivateKey) {
	w.Helper()
	o := w.consulOptions()
	o.Sign, o.Keys = key, nil
	s, err := consul.Open(o)
	must(w, err)
	must(w, s.Publish(w.Context(), w.maps[good+1], bucketmap.Change{Who: "somebody else"}))
	must(w, s.Close())
}

func (w *world) stranger() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(nil)
	must(w, err)
	return key
}

// setBack takes the version that nobody should have published out of Consul.
func (w *world) setBack() {
	w.Helper()
	w.keyDelete(history(good + 1))
	w.keyPut(pointer, w.keyGet(history(good)))
}

// serveAside serves until takeAway, or the test's end.
func (w *world) serveAside(server *http.Server) {
	w.Helper()
	l, err := net.Listen("tcp", server.Addr)
	must(w, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	w.aside = func() {
		must(w, server.Close())
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			w.Error(err)
		}
	}
	w.Cleanup(w.takeAway)
}

func (w *world) takeAway() {
	if w.aside != nil {
		w.aside()
		w.aside = nil
	}
}

// impostor is a web server with a page for every address.
func (w *world) impostor() {
	w.Helper()
	addr := w.consul.Addr()
	must(w, w.consul.Kill())
	w.serveAside(&http.Server{Addr: addr, Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(rw, "<html><body>It works!</body></html>")
	})})
}
