// Package console serves one page on which an operator sees where everybody is
// and what is under way, and from which an operator may act.
//
// It lives by these steps:
//
//  1. New checks the options: who may come in, and that nothing is served in
//     clear text beyond this machine. Listen opens the address.
//  2. Serve watches the map and every Source. What each says is put into JSON once
//     and kept, the newest alone; what did not change is not sent again.
//  3. A browser asks for the page, logs in, gets the homes of all buckets in one
//     binary answer (GET /api/grid), and follows GET /events: server-sent events
//     with ids. An event carries the whole of what one source says, or, of what is
//     Growing, what is new, or, of the grid, the buckets that changed from one
//     version to the next.
//  4. A browser that comes again names the last event that it had, and gets what
//     is newer. One that is slow, so that its buffer is full, is cut off and
//     comes again: nobody waits for it.
//  5. A press of a button is a POST to /api/actions/NAME, for operators alone,
//     with the word that the operator has typed to confirm it.
//
// What a source cannot tell is shown as such, with the reason and since when:
// the page never passes old figures off as new ones.
//
// The package never opens a database and never changes the map by itself: what is
// shown comes from Sources, what is done is done by Actions. It loads nothing from
// elsewhere, and its page may run no script and no style that it does not serve.
//
// New parts of the page are a Source here and a file in assets/panels.
//
// A Server's Serve may be called once. Sources are watched by one goroutine each.
// Actions must be fit for concurrent use.
package console
