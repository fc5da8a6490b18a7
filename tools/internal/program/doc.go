// Package program builds the migrator and runs it so that it can be stopped
// exactly where a test wants it.
//
// What is built is the migrator as it ships but for one thing: at a crash point
// it does not kill itself. It tells each point that it passes, and at the one
// that DROVER_CRASH_AT names it says so and waits. Who started it then does what
// the case asks for: kill it, freeze it, take a server away, and lets it go on.
//
// A Child must be waited for: Wait, or Kill. Its methods may be called
// concurrently.
package program
