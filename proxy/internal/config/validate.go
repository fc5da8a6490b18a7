package config

import (
	"maps"
	"reflect"
	"slices"

	"drover/internal/config"
)

// Validate completes what depends on other keys, then reports every problem at
// once, as a *config.InvalidError. It opens no file.
func (c *Config) Validate() error {
	c.complete()
	var p config.Problems
	check(&p, reflect.ValueOf(c).Elem(), "", "")
	c.listenerProblems(&p)
	c.adminProblems(&p)
	c.mapProblems(&p)
	c.whitelistProblems(&p)
	c.identityProblems(&p)
	c.trustProblems(&p)
	for _, name := range slices.Sorted(maps.Keys(c.Datacenters)) {
		c.datacenterProblems(&p, name)
	}
	c.limitProblems(&p)
	c.mirrorProblems(&p)
	c.cohortProblems(&p)
	return p.Err()
}
