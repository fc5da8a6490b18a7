package testservers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

const prometheusAnswerMax = 1 << 20 // bytes of an answer to the probe

// Prometheus is one Prometheus server.
type Prometheus struct{ process }

// StartPrometheus starts a Prometheus server that ends with the test, in a fleet
// of its own: nothing but Prometheus is installed for it. Files are by their
// names, prometheus.yml among them, which may name the others.
func StartPrometheus(t testing.TB, files map[string]string) *Prometheus {
	t.Helper()
	fleet, err := newBareFleet(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fleet.Close(); err != nil {
			t.Error(err)
		}
	})
	server, err := fleet.Prometheus(t.Context(), "prometheus", files)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// Prometheus starts a Prometheus server and waits until it answers queries. A
// restart keeps its port and its data.
func (f *Fleet) Prometheus(ctx context.Context, name string, files map[string]string) (*Prometheus, error) {
	programs, err := installPrometheus(ctx, f.cache, f.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := new(Prometheus)
	if err := f.add(&p.process, name); err != nil {
		return nil, err
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(p.dir, file), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
	}
	data := filepath.Join(p.dir, "data")
	p.prepare = func(int) error { return nil }
	p.command = func() []string {
		return []string{
			programs.Prometheus, "--config.file=" + filepath.Join(p.dir, "prometheus.yml"),
			"--storage.tsdb.path=" + data, "--web.listen-address=" + p.Addr(), "--web.enable-lifecycle",
		}
	}
	p.probe = func(ctx context.Context) error { return p.answers(ctx, data) }
	p.taken = "bind: address already in use"
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// URL returns the server's address with its scheme.
func (p *Prometheus) URL() string { return "http://" + p.Addr() }

// answers makes sure that the server is ready, and that it is this one: a
// stranger may have taken the port.
func (p *Prometheus) answers(ctx context.Context, data string) error {
	if _, err := p.get(ctx, "/-/ready"); err != nil {
		return err
	}
	text, err := p.get(ctx, "/api/v1/status/flags")
	if err != nil {
		return err
	}
	var flags struct{ Data map[string]string }
	if err := json.Unmarshal(text, &flags); err != nil {
		return err
	}
	if at := flags.Data["storage.tsdb.path"]; at != data {
		return fmt.Errorf("another server answers on %s, with its data in %q", p.Addr(), at)
	}
	return nil
}

func (p *Prometheus) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL()+path, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true // these servers are killed on purpose
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, prometheusAnswerMax))
	if answer.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("get %s: %s", path, answer.Status))
	}
	return text, err
}
