// Package catalog has no code. Its tests compare docs/metrics.md with the metrics
// of campaigns, objectives and tracers, which have series only while they work.
package catalog
