package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// event is a line of the migrator's with --output json.
type event struct {
	Move    string    `json:"move"`
	State   string    `json:"state"`
	At      time.Time `json:"at"`
	Note    string    `json:"note"`
	Entered bool      `json:"entered"`
}

// migrator runs the program and returns its events.
func (f *field) migrator(ctx context.Context, args ...string) ([]event, error) {
	args = append([]string{"--config", filepath.Join(f.dir, "migrator.yaml"), "--output", "json"}, args...)
	cmd := exec.CommandContext(ctx, f.program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var events []event
	for line := range bytes.Lines(stderr.Bytes()) {
		var e event
		if json.Unmarshal(line, &e) == nil && e.State != "" {
			events = append(events, e)
		}
	}
	if err != nil {
		return events, fmt.Errorf("migrator %v: %w\n%s%s", args[4:], err, stdout.Bytes(), stderr.Bytes())
	}
	return events, nil
}

// part is one part of the stall in the migrator's note.
var part = regexp.MustCompile(`(?:^|, |: )([a-z ]+) ([0-9.]+) ms`)

// number is what differs between two reports of one reason.
var number = regexp.MustCompile(`[0-9]+`)

// stepsBack counts why moves stepped back or found the gate closed.
func stepsBack(reasons map[string]int, events []event) {
	for _, e := range events {
		if strings.HasPrefix(e.Note, "stepped back, try") || strings.HasPrefix(e.Note, "the gate is closed") {
			reasons[number.ReplaceAllString(e.Note, "N")]++
		}
	}
}

// addParts takes the parts of the stall, and the time in each state, from the
// events of a move.
func addParts(to map[string]figures, events []event) {
	var last event
	for _, e := range events {
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
