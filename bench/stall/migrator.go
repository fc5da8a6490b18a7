package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"drover/bench/internal/events"
	"drover/bench/internal/times"
)

// migrator runs the program and returns its events.
func (f *field) migrator(ctx context.Context, args ...string) ([]events.Event, error) {
	args = append([]string{"--config", filepath.Join(f.dir, "migrator.yaml"), "--output", "json"}, args...)
	cmd := exec.CommandContext(ctx, f.program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		return nil, fmt.Errorf("migrator %v: %w\n%s%s", args[4:], err, stdout.Bytes(), stderr.Bytes())
	}
	return events.Parse(stderr.Bytes()), nil
}

// part is one part of the stall in the migrator's note.
var part = regexp.MustCompile(`(?:^|, |: )([a-z ]+) ([0-9.]+) ms`)

// number is what differs between two reports of one reason.
var number = regexp.MustCompile(`[0-9]+`)

// stepsBack counts why moves stepped back or found the gate closed.
func stepsBack(reasons map[string]int, all []events.Event) {
	for _, e := range all {
		if strings.HasPrefix(e.Note, "stepped back, try") || strings.HasPrefix(e.Note, "the gate is closed") {
			reasons[number.ReplaceAllString(e.Note, "N")]++
		}
	}
}

// stallNote is what the migrator says of the stall.
func stallNote(all []events.Event) string {
	for _, e := range all {
		if e.State == "publishing" && strings.HasPrefix(e.Note, "write stall ") {
			return e.Note
		}
	}
	return "no note"
}

// addParts takes the parts of the stall, and the time in each state, from the
// events of a move.
func addParts(to map[string]times.Times, all []events.Event) {
	var last events.Event
	for _, e := range all {
		if e.Entered {
			if last.State != "" {
				to["in "+last.State] = append(to["in "+last.State], e.At.Sub(last.At))
			}
			last = e
		}
		for _, match := range part.FindAllStringSubmatch(e.Note, -1) {
			if ms, err := strconv.ParseFloat(match[2], 64); err == nil && e.State == "publishing" {
				name := "migrator: " + match[1]
				to[name] = append(to[name], time.Duration(ms*float64(time.Millisecond)))
			}
		}
	}
}
