package slo

import (
	"fmt"
	"os"
	"testing"

	"drover/internal/testrun"
)

// parallelism is how many tests run at once. The one with a real Prometheus waits
// more than it computes.
const parallelism = 4

func TestMain(m *testing.M) {
	if err := testrun.Parallel(parallelism); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
