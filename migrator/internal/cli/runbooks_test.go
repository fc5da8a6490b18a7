package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commandLine finds the migrator's command lines in a page: lines of a block of
// shell, and words between backquotes.
var commandLine = regexp.MustCompile("(?m)(?:^|`)(migrator [^`\n]+)")

// accepts says what the parser of the command line has against a command.
func accepts(line string) error {
	a := &app{out: io.Discard, errOut: io.Discard}
	root := a.root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	line, _, _ = strings.Cut(line, " | ") // what reads its output
	args := strings.Fields(line)[1:]
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if c == root || !c.Runnable() {
		return fmt.Errorf("%q is no command", line)
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	given := c.Flags().Args()
	if len(given) == 0 && !strings.Contains(c.Use, c.Name()+" ") {
		return c.ValidateArgs(given)
	}
	return argsOf(c, given)
}

// argsOf lets a text name a command without its arguments, as in "migrator move
// show says why", and otherwise wants those that the command takes.
func argsOf(c *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	return c.ValidateArgs(given)
}

func TestEveryCommandOfTheRunbooksIsAccepted(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("../../../docs/runbooks/*.md")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no runbooks: %v", err)
	}
	n := 0
	for _, path := range append(paths, "../../../docs/observability.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range commandLine.FindAllStringSubmatch(string(text), -1) {
			n++
			if err := accepts(found[1]); err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(path), found[1], err)
			}
		}
	}
	if n < len(paths) {
		t.Errorf("%d commands in %d pages", n, len(paths))
	}
}

func TestACommandThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"migrator nonsense", "migrator map nonsense", "migrator move show --nonsense", "migrator shard", "migrator move show a b",
		"migrator map status 7"} {
		if accepts(line) == nil {
			t.Errorf("%s was accepted", line)
		}
	}
	for _, line := range []string{"migrator move show MOVE", "migrator map history --limit 5", "migrator status | head"} {
		if err := accepts(line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}
