package cli

import (
	"fmt"
	"maps"
	"slices"

	"drover/migrator/internal/config"
	"drover/migrator/internal/slo"
	"drover/shardlib"
)

// sloConfig gives the section slo of the configuration, and the datacenters of
// the shard list. It connects to nothing, and works before open too. A
// configuration without objectives is an error that says so.
func (a *app) sloConfig() (slo.Config, []string, error) {
	cfg := a.cfg
	if cfg == nil {
		if a.configPath == "" {
			return slo.Config{}, nil, fmt.Errorf("%w: give --config FILE or set DROVER_MIGRATOR_CONFIG", errUsage)
		}
		var err error
		if cfg, err = config.Load(a.configPath); err != nil {
			return slo.Config{}, nil, fmt.Errorf("%w: %w", errUsage, err)
		}
	}
	if cfg.SLO.Empty() {
		return slo.Config{}, nil, fmt.Errorf("%w: %s has no objectives: its section slo says where the figures come from and what is promised; see docs/slo.md", errUsage, a.configPath)
	}
	list, err := shardlib.LoadShardList(cfg.Shards)
	if err != nil {
		return slo.Config{}, nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	found := map[string]bool{}
	for _, servers := range list.Shards {
		for datacenter := range servers {
			found[string(datacenter)] = true
		}
	}
	return cfg.SLO, slices.Sorted(maps.Keys(found)), nil
}
