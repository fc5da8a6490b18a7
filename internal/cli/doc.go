// Package cli runs a program's command, ends it in order at a signal, and says
// by its exit code how it ended.
//
// Run works in this order: (1) SIGINT, SIGTERM or SIGHUP ends the command's
// context, and the command is expected to clean up and return; from then on a
// second signal does what it does by itself, which is to end the process at
// once. (2) When the command has returned, its error is written to its standard
// error, with the program's name. (3) The exit code is returned; only main ends
// the process with it.
//
// It never retries, and never ends the process itself. A process calls Run
// once.
package cli
