package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover/internal/cli"
	"drover/tools/conformance/internal/cases"
	"drover/tools/conformance/internal/peer"
	"drover/tools/conformance/internal/script"
	"drover/tools/conformance/internal/suite"
)

func main() { os.Exit(cli.Run("conformance", command(os.Stdout))) }

// errFailed says that Drover failed a case.
var errFailed = errors.New("drover fails cases: they are above, run one with --case NAME -v to see its bytes")

func command(out io.Writer) *cobra.Command {
	var name, pattern string
	var verbose bool
	c := &cobra.Command{
		Use: "conformance", Short: "Judge an HTTP proxy by the bytes that it sends, case by case",
		Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return judge(cmd.Context(), name, pattern, verbose, out) },
	}
	flags := c.Flags()
	flags.StringVar(&name, "peer", string(peer.Drover), "the `proxy` to judge: drover, nginx, haproxy or all")
	flags.StringVar(&pattern, "case", "", "only cases whose name matches this `regex`")
	flags.BoolVarP(&verbose, "verbose", "v", false, "print every case, and what both sides saw in those that failed")
	return c
}

// judge runs the cases that a pattern chooses against one peer, or all.
func judge(ctx context.Context, name, pattern string, verbose bool, out io.Writer) error {
	kinds := []peer.Kind{peer.Kind(name)}
	if name == "all" {
		kinds = peer.Kinds()
	} else if !slices.Contains(peer.Kinds(), kinds[0]) {
		return fmt.Errorf("no peer %q: use drover, nginx, haproxy or all", name)
	}
	chosen, err := choose(pattern)
	if err != nil {
		return err
	}
	scores := map[peer.Kind]suite.Score{}
	for _, kind := range kinds {
		outcomes, err := runPeer(ctx, kind, chosen)
		if err != nil {
			return err
		}
		report(out, kind, outcomes, verbose)
		scores[kind] = suite.NewScore(outcomes)
	}
	if err := suite.PrintScores(out, cases.Groups(), kinds, scores); err != nil {
		return err
	}
	if total := scores[peer.Drover][suite.Total]; total.Passed != total.All {
		return errFailed
	}
	return nil
}

// choose returns the cases whose name matches.
func choose(pattern string) ([]script.Case, error) {
	match, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("--case: %w", err)
	}
	chosen := slices.DeleteFunc(cases.Table(), func(c script.Case) bool { return !match.MatchString(c.Name) })
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no case matches %q: names look like %q", pattern, cases.Table()[0].Name)
	}
	return chosen, nil
}

func runPeer(ctx context.Context, kind peer.Kind, chosen []script.Case) ([]suite.Outcome, error) {
	dir, err := os.MkdirTemp("", "drover-conformance-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	return suite.Run(ctx, kind, chosen, dir)
}

func report(out io.Writer, kind peer.Kind, outcomes []suite.Outcome, verbose bool) {
	for _, o := range outcomes {
		switch {
		case o.Err != nil:
			fmt.Fprintf(out, "%s FAIL %s (RFC %s): %s\n", kind, o.Case.Name, o.Case.RFC, o.Case.Why)
			fmt.Fprintf(out, "    %s\n", strings.ReplaceAll(o.Err.Error(), "\n", "\n    "))
			if verbose && o.Result != nil {
				fmt.Fprintf(out, "    %s\n", strings.ReplaceAll(o.Result.String(), "\n", "\n    "))
			}
		case verbose:
			fmt.Fprintf(out, "%s ok   %s (%v)\n", kind, o.Case.Name, o.Took.Round(time.Millisecond))
		}
	}
}
