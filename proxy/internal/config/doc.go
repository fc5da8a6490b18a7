// Package config is the edge's configuration: its keys, their defaults and
// their bounds.
//
// A program, in this order: (1) calls Load, which reads a file over the
// defaults, completes what depends on other keys, and validates, every problem
// at once; (2) or makes a Default, changes it, and calls Validate; (3) may call
// Check, which tries the files that the configuration names; (4) reads it.
//
// Each key stands once, as a field: its comment is its meaning, its tag bounds
// is what it may hold. The validator and docs/configuration.md read the same
// field, so they cannot differ:
//
//	bounds:"1ms..24h"       a number, a size or a duration, ends included
//	bounds:"json|text"      one of these words
//	bounds:"host:port"      a form of forms.go
//	bounds:"file?"          the same, or empty
//	count:"1..16"           how many entries a list or a map has
//
// What one key says of another is code, in relations.go.
//
// The package opens no socket, constructs nothing, and opens no file but in
// Load and Check. A problem never shows a token. A Config is not changed after
// Load or Validate and may then be read by any number of goroutines.
package config
