package testservers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Workerd is one workerd server, which runs a Worker.
type Workerd struct{ process }

// Workerd starts a workerd server and waits until it listens. It runs a copy of
// the folder, in which workerd.capnp has a socket named http.
func (f *Fleet) Workerd(ctx context.Context, name, folder string) (*Workerd, error) {
	program, err := installWorkerd(ctx, f.cache, f.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	w := new(Workerd)
	if err := f.add(&w.process, name); err != nil {
		return nil, err
	}
	// A copy, so that the watchdog finds the fleet's folder on the command line.
	worker := filepath.Join(w.dir, "worker")
	if err := copyTree(folder, worker); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	w.setUp(program, worker)
	if err := w.start(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

// workerdScript runs workerd with what it says of itself in the file $0.
const workerdScript = `exec "$@" 3>"$0"`

func (w *Workerd) setUp(program, worker string) {
	control := filepath.Join(w.dir, "control")
	w.prepare = func(int) error { return nil }
	w.command = func() []string {
		_ = os.Remove(control) // of the run before, which had the same port
		return []string{
			"/bin/sh", "-c", workerdScript, control,
			program, "serve", filepath.Join(worker, "workerd.capnp"),
			"--socket-addr=http=" + w.Addr(), "--control-fd=3",
		}
	}
	w.probe = func(context.Context) error { return listens(control, w.Port()) }
	w.taken = "Address already in use"
}

// listens reads what the server itself says: whoever answers on the port may be
// a stranger.
func listens(control string, port int) error {
	text, err := os.ReadFile(control)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		var event struct {
			Event, Socket string
			Port          int
		}
		if json.Unmarshal([]byte(line), &event) == nil && event.Event == "listen" && event.Socket == "http" && event.Port == port {
			return nil
		}
	}
	return fmt.Errorf("workerd does not say that it listens on port %d", port)
}
