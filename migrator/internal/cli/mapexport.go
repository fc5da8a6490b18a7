package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/haproxy"
	"drover/bucketmap/nginx"
	"drover/bucketmap/worker"
	"drover/bucketmap/yaml"
)

// The targets of an export.
const (
	targetWorker  = "worker"
	targetHAProxy = "haproxy"
	targetNginx   = "nginx"
	targetYAML    = "yaml"
	targetJSON    = "json"
	targetBinary  = "binary"
)

// exportFlags are the flags of migrator map export as they were given.
type exportFlags struct {
	target, out string

	header, cookie, query, path []string
	trusted                     []string
	backends, upstreams         map[string]string
	failover                    []string
	ignoreHolds, allowLoss      bool
	trustClients, exposeHeaders bool
	name, listen, plan          string
	section, from, prefix       string
	holdMax                     time.Duration
}

// exported is what migrator map export prints as JSON.
type exported struct {
	Target  string            `json:"target"`
	Version bucketmap.Version `json:"version"`
	Digest  bucketmap.Digest  `json:"digest"`
	Path    string            `json:"path"` // the file to use, or the folder
	// Lost is how many whitelisted users the target cannot know.
	Lost int `json:"lost,omitempty"`
	// Held is how many buckets are answered 503, because the target cannot wait.
	Held uint32 `json:"held,omitempty"`
}

func (a *app) mapExport() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export [VERSION|FILE] --target TARGET --out DIR",
		Short: "Write the map for another edge, or in another form",
		Long: `Write the map for another edge, or in another form: the one in force, a version
of the history, or a file.

  worker   a Cloudflare Worker, or anything under workerd   needs --upstream
  haproxy  HAProxy 2.6 and later
  nginx    nginx with its JavaScript module
  yaml     DIR/map.yaml, for people
  json     DIR/map.json, the same
  binary   DIR/map.bin, signed with map.sign_key_file when there is one

Files are written beside those of before and put in their place when they are
complete. Other edges decide as the proxy does, and cannot do all that it does:
read what the export says.`,
		Example: `  migrator map export --target haproxy --out /etc/haproxy/drover --header X-User-Id --trusted 10.0.0.0/8
  migrator map export --target worker --out worker --upstream legacy=https://a.example.com --upstream cloud=https://b.example.com --cookie uid
  migrator map export 41 --target yaml --out .`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.out == "" {
				return fmt.Errorf("%w: give --out DIR", errUsage)
			}
			if err := f.check(cmd.Flags()); err != nil {
				return err
			}
			if err := a.open(); err != nil {
				return err
			}
			var snap *bucketmap.Snapshot
			var err error
			if len(args) == 1 {
				snap, err = a.mapNamed(cmd, args[0])
			} else {
				snap, err = a.store.Load(cmd.Context())
			}
			if err != nil {
				return err
			}
			result, err := a.export(snap, f)
			if err != nil {
				return err
			}
			return a.printExported(result)
		},
	}
	f.add(c.Flags())
	return c
}

func (f *exportFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.target, "target", "", "worker, haproxy, nginx, yaml, json or binary")
	flags.StringVar(&f.out, "out", "", "the folder; it is made if need be")
	flags.StringArrayVar(&f.header, "header", nil, "the header that holds the user id (worker: repeat)")
	flags.StringArrayVar(&f.cookie, "cookie", nil, "worker: a cookie that holds it (repeat)")
	flags.StringArrayVar(&f.query, "query", nil, "worker: a parameter of the query that holds it (repeat)")
	flags.StringArrayVar(&f.path, "path", nil, "worker: a path that holds it, such as /1/user/{id} (repeat)")
	flags.StringSliceVar(&f.trusted, "trusted", nil, "haproxy, nginx: peers whose identity header is believed, such as 10.0.0.0/8 (repeat)")
	flags.StringToStringVar(&f.backends, "backend", nil, "haproxy, nginx: DATACENTER=NAME of its backend or upstream (repeat)")
	flags.StringVar(&f.prefix, "prefix", "", "haproxy, nginx: what the names of variables begin with")
	flags.StringVar(&f.section, "section", "", "haproxy: the name of the section of defaults")
	flags.StringVar(&f.from, "from", "", "haproxy: the section of defaults that it is made from")
	flags.BoolVar(&f.ignoreHolds, "ignore-holds", false, "haproxy, nginx: send held requests by the map in the place of answering 503")
	flags.BoolVar(&f.allowLoss, "allow-loss", false, "haproxy, nginx: export though some whitelisted users cannot be known there")
	flags.StringToStringVar(&f.upstreams, "upstream", nil, "worker: DATACENTER=URL of its upstream (repeat)")
	flags.StringArrayVar(&f.failover, "failover", nil, "worker: DATACENTER=DATACENTER,DATACENTER tried in order when the first cannot be reached (repeat)")
	flags.BoolVar(&f.trustClients, "trust-clients", false, "worker: believe identity headers of everybody")
	flags.BoolVar(&f.exposeHeaders, "expose-headers", false, "worker: show clients the Drover-* headers")
	flags.StringVar(&f.name, "name", "", "worker: its name")
	flags.StringVar(&f.listen, "listen", "", "worker: where workerd listens, host:port")
	flags.StringVar(&f.plan, "plan", "", "worker: free or paid, for the limit of its size")
	flags.DurationVar(&f.holdMax, "hold-max", 0, "worker: bound of holds from now on")
}

// flagTargets says which targets a flag is for; others are for all.
func flagTargets(name string) []string {
	switch name {
	case "header":
		return []string{targetWorker, targetHAProxy, targetNginx}
	case "trusted", "backend", "prefix", "ignore-holds", "allow-loss":
		return []string{targetHAProxy, targetNginx}
	case "section", "from":
		return []string{targetHAProxy}
	case "cookie", "query", "path", "upstream", "failover", "trust-clients", "expose-headers", "name", "listen", "plan", "hold-max":
		return []string{targetWorker}
	default:
		return nil
	}
}

// check refuses a flag that would change nothing.
func (f *exportFlags) check(flags *pflag.FlagSet) error {
	switch f.target {
	case targetWorker, targetHAProxy, targetNginx, targetYAML, targetJSON, targetBinary:
	default:
		return fmt.Errorf("%w: --target %q: want worker, haproxy, nginx, yaml, json or binary", errUsage, f.target)
	}
	var errs []error
	flags.Visit(func(flag *pflag.Flag) {
		targets := flagTargets(flag.Name)
		if targets != nil && !strings.Contains(" "+strings.Join(targets, " ")+" ", " "+f.target+" ") {
			errs = append(errs, fmt.Errorf("--%s is for %s, not for %s", flag.Name, strings.Join(targets, " and "), f.target))
		}
	})
	if f.target != targetWorker && len(f.header) > 1 {
		errs = append(errs, fmt.Errorf("--header: %s takes one", f.target))
	}
	if len(errs) != 0 {
		return fmt.Errorf("%w: %w", errUsage, errors.Join(errs...))
	}
	return nil
}

// export calls the target's package. What such a package refuses is what was
// asked of it: nothing is changed then.
func (a *app) export(snap *bucketmap.Snapshot, f exportFlags) (*exported, error) {
	r := &exported{Target: f.target, Version: snap.Version(), Digest: snap.Digest()}
	var err error
	switch f.target {
	case targetWorker:
		err = f.worker(snap, r)
	case targetHAProxy, targetNginx:
		err = f.edge(snap, r)
	case targetYAML:
		err = r.write(f.out, "map.yaml", func() ([]byte, error) { return yaml.Encode(snap) })
	case targetJSON:
		err = r.write(f.out, "map.json", func() ([]byte, error) { return yaml.EncodeJSON(snap) })
	case targetBinary:
		sign, keyErr := a.cfg.Map.SignKey()
		if keyErr != nil {
			return nil, fmt.Errorf("%w: map.%w", errUsage, keyErr)
		}
		err = r.write(f.out, "map.bin", func() ([]byte, error) { return binary.Append(nil, snap, sign), nil })
	}
	switch {
	case errors.Is(err, haproxy.ErrLoss), errors.Is(err, haproxy.ErrOlder), errors.Is(err, worker.ErrTooLarge),
		errors.Is(err, nginx.ErrLoss), errors.Is(err, nginx.ErrOlder):
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	case errors.Is(err, worker.ErrOptions):
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	case err != nil:
		return nil, err
	}
	return r, nil
}

func (f exportFlags) worker(snap *bucketmap.Snapshot, r *exported) error {
	o := worker.Options{
		Name: f.name, Listen: f.listen, Plan: worker.Plan(f.plan), HoldMax: f.holdMax,
		TrustClients: f.trustClients, ExposeHeaders: f.exposeHeaders,
		Upstreams: byDatacenter(f.upstreams), Failover: map[bucketmap.Datacenter][]bucketmap.Datacenter{},
	}
	for _, name := range f.header {
		o.Identity = append(o.Identity, worker.Source{Header: name})
	}
	for _, name := range f.cookie {
		o.Identity = append(o.Identity, worker.Source{Cookie: name})
	}
	for _, path := range f.path {
		o.Identity = append(o.Identity, worker.Source{Path: path})
	}
	for _, name := range f.query {
		o.Identity = append(o.Identity, worker.Source{Query: name})
	}
	for _, text := range f.failover {
		from, list, ok := strings.Cut(text, "=")
		if _, twice := o.Failover[bucketmap.Datacenter(from)]; !ok || twice {
			return fmt.Errorf("%w: --failover %q: want DATACENTER=DATACENTER,DATACENTER, each once", errUsage, text)
		}
		for to := range strings.SplitSeq(list, ",") {
			o.Failover[bucketmap.Datacenter(from)] = append(o.Failover[bucketmap.Datacenter(from)], bucketmap.Datacenter(to))
		}
	}
	bundle, err := worker.Build(snap, o)
	if err != nil {
		return err
	}
	r.Path, r.Lost = f.out, bundle.LeftOut
	return bundle.Write(f.out)
}

// edge exports for HAProxy or nginx.
func (f exportFlags) edge(snap *bucketmap.Snapshot, r *exported) error {
	var trusted []netip.Prefix
	for _, text := range f.trusted {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("%w: --trusted: %w", errUsage, err)
		}
		trusted = append(trusted, prefix)
	}
	header := strings.Join(f.header, "") // one at most
	if f.target == targetNginx {
		report, err := nginx.Export(f.out, snap, nginx.Options{Header: header, Trusted: trusted, Backends: byDatacenter(f.backends),
			Prefix: f.prefix, IgnoreHolds: f.ignoreHolds, AllowLoss: f.allowLoss})
		r.Path, r.Lost, r.Held = report.Config, report.Unreachable, report.Held
		return err
	}
	report, err := haproxy.Export(f.out, snap, haproxy.Options{Header: header, Trusted: trusted, Backends: byDatacenter(f.backends),
		Prefix: f.prefix, Section: f.section, From: f.from, IgnoreHolds: f.ignoreHolds, AllowLoss: f.allowLoss})
	r.Path, r.Lost, r.Held = report.Config, report.Unreachable, report.Held
	return err
}

func byDatacenter(texts map[string]string) map[bucketmap.Datacenter]string {
	byName := make(map[bucketmap.Datacenter]string, len(texts))
	for dc, text := range texts {
		byName[bucketmap.Datacenter(dc)] = text
	}
	return byName
}

// write writes one file, whole or not at all.
func (r *exported) write(dir, name string, encode func() ([]byte, error)) (err error) {
	data, err := encode()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	r.Path = filepath.Join(dir, name)
	file, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(data)
	if err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), r.Path)
}

func (a *app) printExported(r *exported) error {
	if a.json() {
		return a.printJSON(r)
	}
	a.printf("map version %d, digest %s, is in %s\n", r.Version, short(r.Digest), r.Path)
	if r.Lost != 0 {
		a.printf("%d whitelisted users cannot be known there: they go by their bucket or to the default\n", r.Lost)
	}
	if r.Held != 0 {
		a.printf("%d buckets are held and answered 503: export again when the hold is over\n", r.Held)
	}
	return nil
}
