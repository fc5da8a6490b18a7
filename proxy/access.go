package main

import (
	"fmt"
	"io"
	"net"
	"os"

	"drover/proxy/internal/config"
)

// surroundings are what the program has of its process.
type surroundings struct {
	out, err io.Writer
	// listening, when not nil, is told where the clients and the admin server
	// are listened for.
	listening func(clients, admin net.Addr)
}

// openAccess returns where passports are written, nil for nowhere, and what
// closes it.
func openAccess(place string, s surroundings) (io.Writer, func() error, error) {
	nothing := func() error { return nil }
	switch place {
	case config.AccessNone:
		return nil, nothing, nil
	case config.AccessStdout:
		return s.out, nothing, nil
	case config.AccessStderr:
		return s.err, nothing, nil
	}
	f, err := os.OpenFile(place, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, nil, fmt.Errorf("open the access log: %w", err)
	}
	return f, f.Close, nil
}
