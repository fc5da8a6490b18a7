// Package cli is the migrator's command line, one file a command.
//
// A command (1) is built by a function that Run adds to the root; (2) opens what it
// needs through app.open; (3) does its work with the packages beside this one,
// never by SQL of its own; (4) prints to app.out, in words or, with --output
// json, as one JSON document or one JSON object a line for what goes on for a
// while. Errors go to the caller, who prints them once with their remedy.
//
// What changes the map goes through package publish, and so through its guard.
// A canary (1) runs the next map before it is published; (2) is watched; (3) is
// followed by all, or gets the content of the map in force back, in versions
// above its own.
//
// Exit codes: 0 done; 1 failed, also where a proxy does not run the map that it
// should; 2 the command line or the configuration is wrong; 3 what was asked was
// refused and nothing changed; 130 interrupted.
package cli
