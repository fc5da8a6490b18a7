package stage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below those that kernels give to outgoing connections,
// and that the test servers use: the load's own connections must not take one.
const (
	portMin  = 10_000
	portMax  = 19_999
	portsMax = 500 // tried
)

// freeAddress returns an address of loopback on which nobody listened a moment
// ago.
func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	for range portsMax {
		address := fmt.Sprintf("127.0.0.1:%d", portMin+rand.IntN(portMax-portMin+1))
		if listener, err := lc.Listen(ctx, "tcp4", address); err == nil {
			return address, listener.Close()
		}
	}
	return "", fmt.Errorf("no free port on loopback after %d tries", portsMax)
}
