// Package events reads what the migrator tells of a move when it is run with
// --output json: one line of JSON on standard error for each thing that happens.
//
// Lines of something else, such as warnings, are passed over. Nothing is kept;
// every function may be called concurrently.
package events
