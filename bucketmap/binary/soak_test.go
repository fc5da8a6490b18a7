package binary

import "os"

// Rounds is how much a test does of what has no end: usual, and long with
// DROVER_SOAK=1.
func Rounds(usual, long int) int {
	if os.Getenv("DROVER_SOAK") == "1" {
		return long
	}
	return usual
}
