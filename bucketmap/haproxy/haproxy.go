package haproxy

import (
	"fmt"
	"net/netip"
	"regexp"

	"drover/bucketmap"
	"drover/bucketmap/internal/export"
)

var (
	// ErrLoss is returned where a map says something that HAProxy would never
	// do. Options.AllowLoss allows it.
	ErrLoss = export.ErrLoss
	// ErrOlder is returned where the folder has a newer map.
	ErrOlder = export.ErrOlder
)

const (
	mainName      = "drover.cfg"
	sectionName   = "drover" // unless Options.Section says otherwise
	sectionMax    = 64       // bytes of its name
	prefixesALine = 32       // of trusted peers: HAProxy reads lines of 64 words
)

// Options say how the export fits into HAProxy's configuration. The zero value
// is fit for use where nobody but trusted peers reaches HAProxy.
type Options struct {
	// Header is the name of the header that holds the user id. Default
	// X-User-Id.
	Header string
	// Trusted are the peers whose identity header is believed; it is removed
	// from what others send. Empty: everybody is believed, so the header must
	// be set, or removed, before requests come here.
	Trusted []netip.Prefix
	// Backends names the backend of a datacenter. Default be_<datacenter>.
	Backends map[bucketmap.Datacenter]string
	// Prefix begins the names of the transaction's variables. Default drover_.
	Prefix string
	// Section is the name of the section of defaults. Default drover.
	Section string
	// From is the section of defaults that this one is made from, for timeouts
	// and the like; it must come before. Empty: none.
	From string
	// IgnoreHolds sends requests of held buckets by the map, instead of
	// answering 503: writes to them may be refused by the fence.
	IgnoreHolds bool
	// AllowLoss exports a map with whitelisted users whose id no header can
	// carry. Without it, that is ErrLoss.
	AllowLoss bool
}

// Report says what was exported.
type Report struct {
	Version bucketmap.Version
	// Config is the path of drover.cfg.
	Config string
	// Whitelist is how many users the exported whitelist has.
	Whitelist int
	// Unreachable is how many of them have an id that no header can carry, a
	// NUL, CR or LF in it or a blank at an end; UnreachableFirst are the first
	// few.
	Unreachable      int
	UnreachableFirst []bucketmap.UserID
	// Held is how many buckets are answered 503.
	Held uint32
}

// Export writes the map into a folder, which it makes if need be. The report
// says what was lost, with ErrLoss too.
func Export(dir string, s *bucketmap.Snapshot, options Options) (Report, error) {
	o, backends, err := options.check(s)
	if err != nil {
		return Report{}, fmt.Errorf("haproxy: %w", err)
	}
	unreachable := export.NewUnreachable(s)
	report := Report{
		Version: s.Version(), Whitelist: s.WhitelistLen(),
		Unreachable: unreachable.Count, UnreachableFirst: unreachable.First,
	}
	if err := unreachable.Err(); err != nil && !o.AllowLoss {
		return report, fmt.Errorf("haproxy: %w", err)
	}
	table := export.NewTable(s, !o.IgnoreHolds)
	report.Held = table.Held
	p := pack(table)
	report.Config, err = export.Write(dir, export.Bundle{
		Version: s.Version(),
		Name:    mainName,
		Main:    func(folder string) []byte { return o.section(s, table, p, folder) },
		Files:   files(s, table, p, backends),
	})
	if err != nil {
		return report, fmt.Errorf("haproxy: %w", err)
	}
	return report, nil
}

var plainSection = regexp.MustCompile(`^[A-Za-z0-9_.:-]+$`)

// check fills in the defaults and checks the rest.
func (o Options) check(s *bucketmap.Snapshot) (Options, map[bucketmap.Datacenter]string, error) {
	if s == nil {
		return o, nil, bucketmap.ErrNoMap
	}
	if o.Header == "" {
		o.Header = export.DefaultHeader
	}
	if o.Prefix == "" {
		o.Prefix = export.DefaultPrefix
	}
	if o.Section == "" {
		o.Section = sectionName
	}
	if err := export.CheckHeader(o.Header); err != nil {
		return o, nil, err
	}
	if err := export.CheckPrefix(o.Prefix); err != nil {
		return o, nil, err
	}
	for _, name := range []string{o.Section, o.From} {
		if name != "" && (len(name) > sectionMax || !plainSection.MatchString(name)) {
			return o, nil, fmt.Errorf("section of defaults %q: want letters, digits, '_', '.', ':' and '-', at most %d bytes", name, sectionMax)
		}
	}
	if err := export.CheckTrusted(o.Trusted); err != nil {
		return o, nil, err
	}
	backends, err := export.Backends(s, o.Backends)
	return o, backends, err
}
