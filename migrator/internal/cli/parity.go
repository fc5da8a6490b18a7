package cli

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	report "drover/internal/parity"
	"drover/migrator/internal/config"
	"drover/migrator/internal/parity"
	"drover/migrator/internal/slo"
)

// errParity says that more answers differ than may, or that nobody can tell.
var errParity = errors.New("the datacenters' answers are not known to be the same")

// parityResult is what migrator parity report prints as JSON.
type parityResult struct {
	parity.Collected
	// Judgement is there with --max alone.
	Judgement *parity.Judgement `json:"judgement,omitempty"`
}

func (a *app) parityCommand() *cobra.Command {
	c := &cobra.Command{Use: "parity", Short: "Compare the answers of two datacenters to the same requests"}
	c.AddCommand(a.parityReport())
	return c
}

func (a *app) parityReport() *cobra.Command {
	var proxies []string
	var limit shareFlag
	var most float64
	limit.share = &most
	var examples int
	c := &cobra.Command{
		Use:   "report [--proxy URL...]",
		Short: "Show how many mirrored requests had differing answers, where, and how sure that is",
		Long: `Show how many mirrored requests had differing answers, where, and how sure that is.

Proxies mirror with mirror.share in their configuration. Without --proxy the
proxies of map.push.proxies are asked, and where there are none those of
slo.source.urls. Shares have their 95 % interval (Wilson); its upper end counts
requests as differing whose mirrored answer did not come.

The exit code is 0, and 2 when a proxy could not be asked. With --max it is 0 only
when the upper end is at most that share, every proxy answered and mirrors, and
no class of paths is certainly above it; 1 when more differ, or when too little
was compared to tell.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, bases, err := a.openParity(proxies)
			if err != nil {
				return err
			}
			defer client.HTTP.CloseIdleConnections()
			r := parityResult{Collected: client.Collect(cmd.Context(), bases)}
			if cmd.Flags().Changed("max") {
				j := parity.Gate{DifferentMax: most}.Judge(r.Collected)
				r.Judgement = &j
			}
			if a.json() {
				if err := a.printJSON(r); err != nil {
					return err
				}
			} else {
				a.printParity(&r, examples)
			}
			return r.err()
		},
	}
	c.Flags().StringArrayVar(&proxies, "proxy", nil, "the URL of a proxy's admin server, such as http://10.0.0.1:9901; may be given again")
	c.Flags().Var(&limit, "max", "fail unless at most this share of the answers differs")
	c.Flags().IntVar(&examples, "examples", 5, "how many differing answers to show")
	return c
}

// openParity says whom to ask, and how. A configuration is wanted only for what
// is not given.
func (a *app) openParity(proxies []string) (*parity.Client, []string, error) {
	client := &parity.Client{HTTP: &http.Client{
		// A redirect would take the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if a.configPath == "" && len(proxies) == 0 {
		return nil, nil, fmt.Errorf("%w: give --proxy URL, or --config FILE with map.push.proxies or slo.source.urls", errUsage)
	}
	transport := &http.Transport{}
	if a.configPath != "" {
		cfg, err := config.Load(a.configPath)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		access, section := cfg.Map.Access(), "map.canary."
		if len(proxies) == 0 {
			proxies = cfg.Map.Push.Proxies
		}
		if source := &cfg.SLO.Source; len(proxies) == 0 && source.Kind == slo.KindProxies {
			if proxies, err = adminsOf(source.URLs); err != nil {
				return nil, nil, err
			}
			if access == (config.Access{}) {
				access, section = config.Access{TokenFile: source.TokenFile, TLS: config.TLS{CA: source.CAFile}}, "slo.source: "
			}
		}
		if client.Token, err = access.Token(); err != nil {
			return nil, nil, fmt.Errorf("%w: %s%w", errUsage, section, err)
		}
		if transport.TLSClientConfig, err = access.TLS.Config(); err != nil {
			return nil, nil, fmt.Errorf("%w: %s%w", errUsage, section, err)
		}
	}
	client.HTTP.Transport = transport
	if len(proxies) == 0 {
		return nil, nil, fmt.Errorf("%w: the configuration has neither map.push.proxies nor a slo.source of the kind proxies: give --proxy URL", errUsage)
	}
	var bases []string
	seen := map[string]bool{} // one that is given twice would count twice
	for _, text := range proxies {
		base, err := adminBase(text)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: --proxy: %w", errUsage, err)
		}
		if !seen[base] {
			seen[base] = true
			bases = append(bases, base)
		}
	}
	return client, bases, nil
}

// adminsOf are the admin servers whose metrics pages these are.
func adminsOf(pages []string) ([]string, error) {
	admins := make([]string, len(pages))
	for i, page := range pages {
		base, ok := strings.CutSuffix(page, "/metrics")
		if !ok {
			return nil, fmt.Errorf("%w: slo.source.urls: %s is no admin server's /metrics, so that its mirror is not known: give --proxy URL", errUsage, page)
		}
		admins[i] = base
	}
	return admins, nil
}

func (r *parityResult) err() error {
	switch {
	case r.Judgement != nil && r.Judgement.Level == parity.Passed:
		return nil
	case r.Judgement != nil:
		return fmt.Errorf("%w: %s", errParity, plain(r.Judgement.Reason))
	case len(r.Missing) != 0:
		return &unaskedError{len(r.Missing), len(r.Missing) + len(r.Proxies)}
	default:
		return nil
	}
}

// unaskedError says that proxies are missing; it has the exit code of
// errPartial.
type unaskedError struct{ missing, all int }

func (e *unaskedError) Error() string {
	return fmt.Sprintf("%d of %d proxies could not be asked: see above", e.missing, e.all)
}

func (e *unaskedError) Is(target error) bool { return target == errPartial }

func (a *app) printParity(r *parityResult, examples int) {
	for _, m := range r.Missing {
		a.printf("%s gave no report: %s\n", m.Proxy, plain(m.Error))
	}
	all := &r.Report
	if len(r.Proxies) == 0 {
		return
	}
	if !all.Enabled {
		a.printf("not every proxy mirrors: set mirror.share in its configuration\n")
	}
	t := all.Total
	a.printf("%d proxies, between %s, since %s\n", len(r.Proxies), plain(strings.Join(all.Datacenters, " and ")), all.Began.Format(time.RFC3339))
	a.printf("same %d, different %d, noise %d, failed %d, timeout %d, dropped %d%s\n",
		t.Same, t.Different, t.Noise, t.Failed, t.Timeout, t.Dropped, dropsText(all.Drops))
	a.printf("differing answers: %s\n", intervalText(all.Differing))
	if f := all.LastFailure; f != nil {
		a.printf("the last mirrored request with no answer, %s, to %s: %s\n", f.At.Format(time.RFC3339), plain(f.Datacenter), plain(f.Error))
	}
	if len(all.Classes) != 0 {
		a.printf("\n")
		a.printClasses(all.Classes)
	}
	for i, e := range all.Examples {
		if i == examples {
			a.printf("\nand %d more examples: --examples %d\n", len(all.Examples)-examples, len(all.Examples))
			break
		}
		a.printf("\n%s %s, bucket %d, %s\n", e.At.Format(time.RFC3339), plain(e.Class), e.Bucket, plain(e.Path))
		for _, d := range e.Differences {
			a.printf("  %s\n    %-10s %s\n    %-10s %s\n", plain(d.Place), plain(e.Source), plain(d.Source), plain(e.Target), plain(d.Target))
		}
	}
	if r.Judgement != nil {
		a.printf("\n%s: %s\n", r.Judgement.Level, plain(r.Judgement.Reason))
	}
}

const (
	classesShown = 20 // route classes in the table
	fieldsShown  = 4  // fields of one in it
)

func (a *app) printClasses(classes []report.Class) {
	t := a.table("class", "compared", "different", "share", "fields that differ", "noise, not compared")
	for i, c := range classes {
		if i == classesShown {
			defer a.printf("and %d more classes: --output json\n", len(classes)-classesShown)
			break
		}
		noise := fieldsText(c.Noise)
		if c.Learning {
			noise = strings.TrimPrefix(noise+", still learning", ", ")
		}
		t.AppendRow(table.Row{plain(c.Class), c.Differing.Compared, c.Differing.Different, intervalText(c.Differing), fieldsText(c.Fields), noise})
	}
	t.Render()
}

func intervalText(i report.Interval) string {
	if i.Compared == 0 {
		return "nothing was compared"
	}
	return fmt.Sprintf("%.3g %% (%.3g %% to %.3g %%)", 100*i.Share, 100*i.Lower, 100*i.Upper)
}

func fieldsText(fields []report.Field) string {
	var words []string
	for i, f := range fields {
		if i == fieldsShown {
			words = append(words, fmt.Sprintf("%d more", len(fields)-fieldsShown))
			break
		}
		words = append(words, plain(f.Field))
	}
	return strings.Join(words, ", ")
}

func dropsText(drops map[string]uint64) string {
	counts := map[string]uint64{}
	for why, n := range drops {
		if n != 0 {
			counts[why] = n
		}
	}
	var words []string
	for _, f := range report.SortedFields(counts) {
		words = append(words, fmt.Sprintf("%s %d", plain(f.Field), f.Count))
	}
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, ", ") + ")"
}
