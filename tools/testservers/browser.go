package testservers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	browserEndMax    = 5 * time.Second // for a browser to go after its script was told to
	browserOutputMax = 1 << 20         // bytes of what a script prints
)

// Browser is Chromium, and Playwright, which drives it from node.
type Browser struct {
	program     string   // Chromium
	playwright  string   // the folder of playwright-core
	node        string   // the program that runs scripts
	environment []string // what Chromium needs beside this process's environment
}

// Run runs a script of Playwright's, an ES module, in node: input is its
// standard input, as JSON, and what it prints, as JSON, goes into output. It
// finds playwright-core's folder in PLAYWRIGHT_CORE, and Chromium in CHROMIUM. A
// script that fails is an error with what it said.
func (b *Browser) Run(ctx context.Context, script string, input, output any) error {
	text, err := json.Marshal(input)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, b.node, script)
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) } // node ends the browser
	command.WaitDelay = browserEndMax
	command.Env = append(append(os.Environ(), b.environment...), "PLAYWRIGHT_CORE="+b.playwright, "CHROMIUM="+b.program)
	command.Stdin = strings.NewReader(string(text))
	var said, messages strings.Builder
	command.Stdout, command.Stderr = &limited{to: &said, left: browserOutputMax}, &limited{to: &messages, left: browserOutputMax}
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s%s", script, err, tail([]byte(messages.String())), tail([]byte(said.String())))
	}
	if output == nil {
		return nil
	}
	if err := json.Unmarshal([]byte(said.String()), output); err != nil {
		return fmt.Errorf("%s printed no JSON: %w\n%s", script, err, tail([]byte(said.String())))
	}
	return nil
}

var errOutputMax = errors.New("a script prints too much")

// limited passes on what fits.
type limited struct {
	to   io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, errOutputMax
	}
	l.left -= len(p)
	return l.to.Write(p)
}
