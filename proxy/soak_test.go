package main

import "os"

// rounds is how much a test does of what has no end: usual, and long with
// DROVER_SOAK=1.
func rounds(usual, long int) int {
	if os.Getenv("DROVER_SOAK") == "1" {
		return long
	}
	return usual
}
