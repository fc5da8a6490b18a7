package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/migrator/internal/tracer"
)

// errNotRight says that a tracer did not land where and as it should.
var errNotRight = errors.New("not every tracer was right")

// untracedError says that what was looked at is right, and not all was looked at.
type untracedError struct{ what []string }

func (e *untracedError) Error() string {
	return "every tracer was right, but not all was looked at: " + strings.Join(e.what, "; ")
}

// Is makes it one of the class of partial results.
func (e *untracedError) Is(target error) bool { return target == errPartial }

// traceFlags are the flags of migrator trace.
type traceFlags struct {
	proxies    []string
	all, watch bool
	write      bool
	lasting    time.Duration
	metrics    string

	watching bool   // --watch, or --for
	user     string // USER
}

func (a *app) traceCommand() *cobra.Command {
	var f traceFlags
	c := &cobra.Command{
		Use:   "trace [USER]",
		Short: "Send a synthetic user through the proxies, and say where it landed",
		Long: `Send a synthetic user, a tracer, through the proxies, and say where it landed,
whether that is what the published map says, and how long it took.

Without USER it is the first tracer, which writes and reads; a USER who is named
only reads, unless --write is given; an id that cannot be printed is "hex:" and
its bytes in hexadecimal. The proxies and the requests are the
configuration's (tracers:). Each request is printed stage by stage.

With --all every tracer goes through every proxy once. With --watch they go on
until interrupted, or as long as --for says, with a summary that is drawn again
on a terminal, and a line for each result that is not right elsewhere. With
--output json each result is a line, and the status is the last one.

The exit codes: 0 when every result was right; 1 when one was late, misrouted,
stale, wrong, duplicated, lost or an error, or when nothing could be sent; 2 for
a wrong command line or configuration, and when every result was right but a
shard or a live proxy was not looked at. An interrupt ends --watch as it is
meant to, with one of these.`,
		Example: `  migrator trace
  migrator trace 4711 --proxy edge-1
  migrator trace --all --for 30s
  migrator trace --all --watch --metrics :9912`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.trace(cmd.Context(), &f, args) },
	}
	flags := c.Flags()
	flags.StringArrayVar(&f.proxies, "proxy", nil, "only through this proxy, by its name or URL in the configuration; may be given again")
	flags.BoolVar(&f.all, "all", false, "every tracer")
	flags.BoolVar(&f.watch, "watch", false, "go on until interrupted; with --all")
	flags.DurationVar(&f.lasting, "for", 0, "go on for so long; with --all")
	flags.BoolVar(&f.write, "write", false, "write as USER too: it changes that user's data")
	flags.StringVar(&f.metrics, "metrics", "", "serve Prometheus metrics at this address meanwhile, such as :9912, which is loopback; with --all")
	return c
}

// check checks what flags say together.
func (f *traceFlags) check(args []string) error {
	f.watching = f.watch || f.lasting != 0
	switch {
	case f.all && len(args) != 0:
		return fmt.Errorf("%w: trace: USER or --all, not both", errUsage)
	case !f.all && (f.watching || f.metrics != ""):
		return fmt.Errorf("%w: trace: --watch, --for and --metrics are for --all", errUsage)
	case f.lasting < 0:
		return fmt.Errorf("%w: trace: --for %s: want no less than nothing", errUsage, f.lasting)
	case f.write && len(args) == 0:
		return fmt.Errorf("%w: trace: --write is for a USER: tracers always write", errUsage)
	case len(args) != 0:
		user, err := bucketmap.ParseUserID(args[0])
		if err != nil {
			return fmt.Errorf("%w: trace: %w", errUsage, err)
		}
		f.user = string(user)
	}
	return nil
}

func (a *app) trace(ctx context.Context, f *traceFlags, args []string) error {
	if err := f.check(args); err != nil {
		return err
	}
	if err := a.open(); err != nil {
		return err
	}
	if f.all {
		return a.traceAll(ctx, f)
	}
	t, err := a.openTracer(f.proxies, nil)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Start(ctx); err != nil {
		return err
	}
	results, err := t.One(ctx, f.user, f.user == "" || f.write)
	if err != nil {
		return err
	}
	if a.json() {
		err = a.printJSON(results)
	} else {
		for _, r := range results {
			a.printTrace(r)
		}
	}
	if err != nil {
		return err
	}
	return judgeTrace(results)
}

// judgeTrace says what the exit code is to be.
func judgeTrace(results []tracer.Result) error {
	bad := 0
	for _, r := range results {
		if r.Outcome != tracer.Right {
			bad++
		}
	}
	switch {
	case len(results) == 0:
		return errors.New("nothing was sent: a user who is named only reads, and the configuration has no tracers.read; give --write if that user's data may be changed")
	case bad != 0:
		return fmt.Errorf("%w: %d of %d requests", errNotRight, bad, len(results))
	}
	return nil
}

// openTracer makes the tracer of the configuration, for all proxies or some.
func (a *app) openTracer(only []string, report func(tracer.Result)) (*tracer.Tracer, error) {
	c := &a.cfg.Tracers
	if !c.On() {
		return nil, fmt.Errorf("%w: the configuration has no tracers: see tracers: in configs/migrator.yaml, and docs/tracers.md", errUsage)
	}
	o, err := c.Options()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	access := a.cfg.Map.Access()
	if o.AdminToken, err = access.Token(); err == nil {
		o.AdminTLS, err = access.TLS.Config()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: how the proxies' admin servers are talked to: %w", errUsage, err)
	}
	o.Map, o.Report = a.store, report
	if len(only) == 0 {
		o.Fleet = a.store
	} else if o.Proxies, err = pickProxies(o.Proxies, only); err != nil {
		return nil, err
	}
	t, err := tracer.New(o)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return t, nil
}

// pickProxies are those that --proxy names.
func pickProxies(all []tracer.Proxy, only []string) ([]tracer.Proxy, error) {
	var picked []tracer.Proxy
	for _, want := range only {
		i := slices.IndexFunc(all, func(p tracer.Proxy) bool {
			return p.Name == want || p.URL == strings.TrimRight(want, "/") || strings.HasSuffix(p.URL, "://"+want)
		})
		if i < 0 {
			return nil, fmt.Errorf("%w: --proxy %s: it is not in tracers.proxies", errUsage, want)
		}
		if !slices.Contains(picked, all[i]) {
			picked = append(picked, all[i])
		}
	}
	return picked, nil
}

// printTrace prints one request stage by stage.
func (a *app) printTrace(r tracer.Result) {
	a.printf("%s of %s through %s at %s\n", r.Kind, plain(r.User), r.Proxy, r.At.Format("15:04:05.000"))
	t := a.table("stage", "what", "ms")
	for _, row := range traceRows(r) {
		t.AppendRow(row)
	}
	t.Render()
	a.printf("%s%s\n\n", r.Outcome, after(": ", plain(r.Why)))
}

// after is a text behind a separator, and nothing when there is no text.
func after(separator, text string) string {
	if text == "" {
		return ""
	}
	return separator + text
}

func ms(v float64) string {
	if v <= 0 {
		return ""
	}
	return fmt.Sprintf("%.3f", v)
}

// traceRows are the stages of one request.
func traceRows(r tracer.Result) [][]any {
	version := "of an unknown version of the map"
	if r.Sent.Version != 0 {
		version = fmt.Sprintf("by version %d of the map", r.Sent.Version)
	}
	decided := "not told: expose_headers is off"
	if r.Sent.Datacenter != "" {
		decided = fmt.Sprintf("%s (%s)", r.Sent.Datacenter, r.Sent.Reason)
	}
	served := plain(strings.TrimSpace(fmt.Sprintf("%s%s%s", r.Served.Instance, after(" in ", string(r.Served.Datacenter)), after(", shard ", string(r.Served.Shard)))))
	count := ""
	if r.Count != 0 {
		count = fmt.Sprintf(", count %d", r.Count)
	}
	rows := [][]any{
		{"map", fmt.Sprintf("version %d: bucket %d, datacenter %s%s", r.Expected.Version, r.Bucket, r.Expected.Datacenter, after(", shard ", string(r.Expected.Shard))), ""},
		{"connected", r.Proxy, ms(r.Times.ConnectedMS)},
		{"sent", r.Kind + " " + r.ID, ms(r.Times.SentMS)},
		{"decision", decided + ", " + version, ""},
		{"application", served, ""},
		{"first byte", fmt.Sprintf("status %d%s", r.Status, count), ms(r.Times.FirstByteMS)},
	}
	rows = append(rows, passportRows(r)...)
	return append(rows, []any{"answered", "", ms(r.Times.TotalMS)})
}

// passportRows are the states that the proxy's passport has, each with its time.
func passportRows(r tracer.Result) (rows [][]any) {
	if r.Passport == nil {
		return nil
	}
	var p struct {
		Upstream string             `json:"upstream"`
		Attempts int                `json:"attempts"`
		Reroutes int                `json:"reroutes"`
		OwnMS    float64            `json:"own_ms"`
		TimersMS map[string]float64 `json:"timers_ms"`
	}
	if json.Unmarshal(r.Passport, &p) != nil {
		return nil
	}
	rows = append(rows, []any{"passport", fmt.Sprintf("upstream %s, %d attempts, %d reroutes; own time", plain(p.Upstream), p.Attempts, p.Reroutes), ms(p.OwnMS)})
	for _, state := range []string{"receiving", "identifying", "deciding", "holding", "rerouting", "connecting", "sending", "waiting", "responding"} {
		if t, ok := p.TimersMS[state]; ok && t >= 0 {
			rows = append(rows, []any{"", state, fmt.Sprintf("%.3f", t)})
		}
	}
	return rows
}
