package stage

import (
	"context"
	"fmt"

	"drover/tools/sources"
)

// The programs.
const (
	proxyProgram    = "proxy"
	migratorProgram = "migrator"
	appProgram      = "sampleapp"
)

// Build builds the three programs into a folder. It must be called from within
// the source tree.
func Build(ctx context.Context, dir string) error {
	if err := sources.Build(ctx, dir, proxyProgram, migratorProgram, "tools/"+appProgram); err != nil {
		return fmt.Errorf("build the programs, or give the demo --bin: %w", err)
	}
	return nil
}
