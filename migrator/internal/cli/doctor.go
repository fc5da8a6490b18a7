package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"drover/bucketmap/yaml"
	"drover/migrator/internal/doctor"
)

// errPartial says that not every shard could be asked, so that there may be
// more than what was said. The exit code is exitPartial.
var errPartial = errors.New("not every shard could be asked")

// errFindings says that the doctor has found something.
var errFindings = errors.New("not healthy")

func (a *app) doctorCommand() *cobra.Command {
	var f struct {
		rows        bool
		writeMap    string
		again, soak time.Duration
	}
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Compare journals, map and fences of all shards, and explain every disagreement; nothing is changed",
		Long: `Compare journals, map and fences of all shards, and explain every disagreement;
nothing is changed.

A move that is under way is no finding. What is found is looked at again a moment
later, and reported if it is there still. Each finding has a kind, a cause, and
the commands that mend it; where only a person can decide, the reason and the
statements for the server. docs/doctor.md lists the kinds.

The exit code is 0 when all is well, 1 with findings, and 2 when not every server
could be looked at, whatever was found on the others.`,
		Example: `  migrator doctor
  migrator doctor --rows -o json
  migrator doctor --write-map mended.yaml; migrator map push mended.yaml`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.again < 0 || f.soak < 0 {
				return fmt.Errorf("%w: --again %s, --soak %s: want no less than nothing", errUsage, f.again, f.soak)
			}
			if err := a.open(); err != nil {
				return err
			}
			d := &doctor.Doctor{Map: a.store, Servers: a.shards, List: a.shards.List(), Tables: a.cfg.Tables,
				Account: a.cfg.Account.User, Rows: f.rows, Again: f.again, Soak: f.soak}
			report, err := d.Examine(cmd.Context())
			if err != nil {
				return err
			}
			if err := errors.Join(a.printDoctor(report), a.writeMended(report, f.writeMap)); err != nil {
				return err
			}
			switch {
			case len(report.Unseen) != 0:
				return fmt.Errorf("%w: %d findings on the others, and %d that could not be looked at", errPartial, len(report.Findings), len(report.Unseen))
			case len(report.Findings) != 0:
				return fmt.Errorf("%w: %d findings", errFindings, len(report.Findings))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&f.rows, "rows", false, "look for rows where their buckets neither live nor move; reads whole tables that have no index on the bucket")
	c.Flags().StringVar(&f.writeMap, "write-map", "", "write the map that follows the databases to this file, for migrator map push")
	c.Flags().DurationVar(&f.again, "again", doctor.DefaultAgain, "the pause before a finding is looked at again")
	c.Flags().DurationVar(&f.soak, "soak", doctor.DefaultSoak, "how long a soak may be without a live reverse tail")
	return c
}

// writeMended writes the map that follows the databases, if a finding is about
// the map. It is written beside and renamed, so that there is never half of it.
func (a *app) writeMended(report *doctor.Report, path string) error {
	if path == "" {
		return nil
	}
	mended, err := report.MendedMap()
	if err != nil {
		return fmt.Errorf("the map that follows the databases: %w", err)
	}
	if mended == nil {
		a.note("nothing is wrong with the map; %s is not written\n", path)
		return nil
	}
	data, err := yaml.Encode(mended)
	if err != nil {
		return err
	}
	beside := path + ".new"
	if err := os.WriteFile(beside, data, 0o644); err != nil {
		return errors.Join(err, os.RemoveAll(beside))
	}
	if err := os.Rename(beside, path); err != nil {
		return err
	}
	a.note("%s is the map that follows the databases: look at it with migrator map diff %s\n", path, path)
	return nil
}

// doctorColumns is where a line of the report is broken.
const doctorColumns = 110

func (a *app) printDoctor(r *doctor.Report) error {
	if a.json() {
		return a.printJSON(struct {
			Healthy bool `json:"healthy"`
			*doctor.Report
		}{r.Healthy(), r})
	}
	part := func(label, words string) {
		if words == "" {
			return
		}
		lines := strings.Split(text.WrapSoft(words, doctorColumns), "\n")
		for i, line := range lines {
			if i != 0 {
				label = ""
			}
			a.printf("  %-7s %s\n", label, strings.TrimRight(line, " "))
		}
	}
	for _, f := range r.Findings {
		where := ""
		if f.Shard != "" {
			where = " on " + string(f.Shard)
		}
		if f.Move != "" {
			where += ", " + plain(string(f.Move))
		}
		a.printf("%s: %s%s\n", strings.ToUpper(string(f.Severity)), f.Kind, where)
		part("says", f.Says)
		part("cause", f.Cause)
		for _, m := range f.Mend {
			a.printf("  %-7s %s\n", "mend", m)
		}
		part("decide", f.Decide)
		for _, s := range f.SQL {
			a.printf("  %-7s on %s:\n          %s;\n", "sql", s.Server, s.Statement)
		}
		a.printf("\n")
	}
	for _, u := range r.Unseen {
		at := u.Server
		if at == "" {
			at = string(u.Shard)
		}
		a.printf("NOT SEEN: %s: %s\n", at, u.Reason)
	}
	for _, m := range r.Running {
		a.printf("under way: %s, %s since %s\n", m.Move, m.State, m.Since.Format(time.RFC3339))
	}
	a.printf("map version %d, %d buckets, %d shards: ", r.Version, r.Buckets, r.Shards)
	if r.Healthy() {
		a.printf("healthy\n")
	} else {
		a.printf("%d findings, %d not seen\n", len(r.Findings), len(r.Unseen))
	}
	return nil
}
