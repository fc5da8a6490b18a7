package promotions

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"drover/tools/internal/program"
)

var update = flag.Bool("update", false, "try every case, and write the promotions' part of docs/faults.md anew")

// shared is what all tests use.
var shared struct {
	migrator string
	soak     bool // try every case, and take the time that some need

	mu   sync.Mutex
	rows map[string]row // by case
}

// lanes is how many worlds there are at once when every case is tried. Each
// waits for programs and servers more than it computes.
const lanes = 4

func TestMain(m *testing.M) {
	flag.Parse()
	shared.soak = os.Getenv("DROVER_SOAK") == "1"
	shared.rows = map[string]row{}
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	// A lane waits for others only where -parallel is less than that.
	if err := flag.Set("test.parallel", strconv.Itoa(lanes+1)); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "drover-promotions-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if shared.migrator, err = program.Build(context.Background(), dir); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// everything says whether every case is tried.
func everything() bool { return shared.soak || *update }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
