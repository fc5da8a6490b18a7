// Package campaign takes everybody over: waves of steps, and the pace that the
// objectives allow.
//
// A campaign goes like this. (1) Build makes a Plan from a map, or a person
// writes one; Check fits it to the map in force and reports every problem at
// once. (2) Apply refuses a plan for another map version, and begins the
// campaign: a folder with the plan and a journal. (3) Runner.Run takes one step
// after the other by an Executor, and asks the Judge before each step and while
// its users bake. (4) Send puts an operator's command into the journal, which
// the Runner watches; Read says how the campaign is getting on, and a Reader does
// so look by look.
//
// The journal and the map are all that is known: State is what the journal's
// lines add up to, and a Runner that was killed goes on from there. Decide, the
// pacer, is a pure function of a Look, so that Simulate and the forecast of Read
// use the very same one with another clock.
//
// What it never does: begin a step, pass a bake or go back by itself on a
// verdict that is unknown, old, or not about what was asked; take a step whose
// outcome it does not know for one that failed; move a user while paused.
//
// One Runner at a time has a campaign: a lock in its folder. Send, Read and
// Apply may be called by any number of goroutines and processes.
package campaign
