package cli

import (
	"fmt"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"drover/bucketmap"
)

// historyLine is one line of migrator map history as JSON.
type historyLine struct {
	Version bucketmap.Version `json:"version"`
	When    time.Time         `json:"when"`
	Who     string            `json:"who"`
	Why     string            `json:"why"`
	Digest  bucketmap.Digest  `json:"digest,omitzero"` // none where the store does not know it
}

func (a *app) mapHistory() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use:   "history",
		Short: "Show who published which version, when and why; the newest first",
		Example: `  migrator map history --limit 10
  migrator map history --limit 0 -o json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return fmt.Errorf("%w: --limit %d: want 0 or more", errUsage, limit)
			}
			if err := a.open(); err != nil {
				return err
			}
			records, err := a.store.History(cmd.Context())
			if err != nil {
				return err
			}
			total := len(records)
			if limit > 0 && total > limit {
				records = records[:limit]
			}
			lines := make([]historyLine, len(records))
			t := a.table("version", "when", "who", "why", "digest")
			for i, r := range records {
				lines[i] = historyLine{Version: r.Version, When: r.When, Who: r.Who, Why: r.Why, Digest: r.Digest}
				t.AppendRow(table.Row{r.Version, r.When.Format(time.RFC3339), plain(r.Who), plain(r.Why), short(r.Digest)})
			}
			if a.json() {
				return a.printJSON(lines)
			}
			t.Render()
			if len(records) != total {
				a.printf("and %d older ones; --limit 0 shows all\n", total-len(records))
			}
			return nil
		},
	}
	c.Flags().IntVar(&limit, "limit", 50, "show so many; 0 shows all")
	return c
}

// short is the beginning of a digest, enough to tell two maps apart.
func short(d bucketmap.Digest) string {
	if d == (bucketmap.Digest{}) {
		return "?"
	}
	return d.String()[:12]
}
