package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"drover/bench/internal/process"
	"drover/bucketmap"
)

// addresses are those of the applications.
type addresses map[bucketmap.Datacenter]string

// origins are applications that say their datacenter, until there are no more
// questions.
func origins(in io.Reader, out io.Writer) error {
	at := addresses{}
	for _, dc := range []bucketmap.Datacenter{legacy, cloud} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, dc) }))
		defer s.Close()
		at[dc] = s.Listener.Addr().String()
	}
	return serve(in, out, func(struct{}) (addresses, error) { return at, nil })
}

// startEdge starts a proxy with the store that the text says.
func startEdge(ctx context.Context, dir, program, store string, apps addresses) (*process.Process, error) {
	text := process.EdgeConfig("bench", fmt.Sprintf("%s, cache: %q", store, filepath.Join(dir, "cache")), apps[legacy], apps[cloud])
	config := filepath.Join(dir, "proxy.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return process.Start(ctx, program, "run", "--config", config)
}
