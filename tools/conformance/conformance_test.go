package main

import (
	"io"
	"strings"
	"testing"

	"drover/tools/conformance/internal/cases"
	"drover/tools/conformance/internal/peer"
	"drover/tools/conformance/internal/suite"
)

func TestDroverPassesEveryCase(t *testing.T) {
	outcomes, err := suite.Run(t.Context(), peer.Drover, cases.Table(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes {
		t.Run(o.Case.Name, func(t *testing.T) {
			if o.Err != nil {
				t.Errorf("RFC %s: %s\n%v\n%v", o.Case.RFC, o.Case.Why, o.Err, o.Result)
			}
		})
	}
}

func TestEveryCaseHasItsOwnNameAndItsSection(t *testing.T) {
	const least = 230
	table := cases.Table()
	if len(table) < least {
		t.Errorf("%d cases, want %d at least", len(table), least)
	}
	names, groups := map[string]bool{}, map[string]int{}
	for _, c := range table {
		if names[c.Name] {
			t.Errorf("two cases are named %s", c.Name)
		}
		names[c.Name] = true
		groups[c.Group]++
		if c.Name == "" || strings.Trim(c.Name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
			t.Errorf("the name %q is not of lower-case words and dashes", c.Name)
		}
		if number, section, _ := strings.Cut(c.RFC, " "); len(number) != 4 || section == "" {
			t.Errorf("%s has the RFC section %q, want one like 9112 6.1", c.Name, c.RFC)
		}
		if c.Why == "" || strings.Contains(c.Why, "\n") {
			t.Errorf("%s does not say why in one line", c.Name)
		}
		if c.Want == nil || c.Send == "" && len(c.Steps) == 0 {
			t.Errorf("%s does nothing or wants nothing", c.Name)
		}
	}
	for _, group := range cases.Groups() {
		if groups[group] == 0 {
			t.Errorf("the group %s has no case", group)
		}
	}
}

func TestAWrongWordOnTheCommandLineIsToldWithItsRemedy(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"--peer apache", "use drover, nginx, haproxy or all"},
		{"--case no-such-case-at-all", "no case matches"},
		{"--case (", "--case"},
	} {
		c := command(io.Discard)
		c.SetArgs(strings.Fields(tc.args))
		err := c.ExecuteContext(t.Context())
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error with %q", tc.args, err, tc.want)
		}
	}
}
