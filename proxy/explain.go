package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"drover/bucketmap"
	"drover/bucketmap/binary"
	"drover/bucketmap/yaml"
	"drover/proxy/internal/config"
	"drover/proxy/internal/edge"
	"drover/proxy/internal/listen"
	"drover/proxy/internal/restart"
	"drover/proxy/internal/routing"
)

// errWouldRefuse is a request that the edge would refuse: exit code 2.
var errWouldRefuse = errors.New("the edge would refuse this request")

// requestMax bounds the request on the standard input: more than the longest
// head that limits.header_bytes allows.
const requestMax = 2 << 20

type explainOptions struct {
	config, mapFile, peer string
	json                  bool
	now                   func() time.Time
}

func explainCommand() *cobra.Command {
	o := explainOptions{now: time.Now}
	cmd := &cobra.Command{
		Use: "explain", Short: "Say what the edge would do with a request",
		Long: `Reads one HTTP/1.1 request, as a client sends it, from the standard input, and
says what the edge would do with it: who the user is, where the request goes and
why, and the head that goes upstream. It is the edge's own code that says so.
Nothing is sent but for reading the key sets of tokens. Only the head is looked
at. In the text the head's lines end in LF; --json has them as they are.

The exit code is 0, 2 when the edge would refuse the request, and 1 when it
cannot be said.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return explain(cmd.Context(), o, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the configuration `file` (wanted)")
	f.StringVar(&o.mapFile, "map", "", "a map's `file`, in YAML or binary; default: the map in the store, or the last good one")
	f.StringVar(&o.peer, "peer", "127.0.0.1", "who sends the request: an `address`, with a port or without")
	f.BoolVar(&o.json, "json", false, "say it in JSON")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag is there: the lines before
	}
	return cmd
}

func explain(ctx context.Context, o explainOptions, in io.Reader, out, words io.Writer) error {
	c, err := config.Load(o.config)
	if err != nil {
		return err
	}
	from, err := explainPeer(c, o.peer)
	if err != nil {
		return err
	}
	next, err := explainMap(ctx, c, o.mapFile, words)
	if err != nil {
		return err
	}
	p, err := unserved(c)
	if err != nil {
		return err
	}
	if err := p.finder.Load(ctx); err != nil {
		fmt.Fprintln(words, "proxy: tokens whose keys could not be read make no user:", err)
	}
	if p.users != nil {
		if err := p.users.Load(ctx); err != nil {
			fmt.Fprintln(words, "proxy: the edge would refuse the whitelist file, and have none of its users:", err)
		}
	}
	if err := p.table.Offer(ctx, next); err != nil {
		return fmt.Errorf("the edge would not take this map: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(in, requestMax))
	if err != nil {
		return fmt.Errorf("read the request from the standard input: %w", err)
	}
	x := p.edge.Explain(text, from, o.now())
	if err := p.explained(out, from, x, o.json); err != nil {
		return err
	}
	if x.Status != 0 {
		return errWouldRefuse
	}
	return nil
}

// unserved wires a proxy that serves nobody and writes nothing.
func unserved(c *config.Config) (*proxy, error) {
	c.AccessLog.Path = config.AccessNone
	c.Map.Cache = ""
	p := &proxy{config: c, id: c.ID, log: zap.NewNop(), sockets: restart.None{}}
	p.source.source = newSource(&c.Map)
	if err := p.openAccess(surroundings{out: io.Discard, err: io.Discard}); err != nil {
		return nil, err
	}
	return p, p.wire(prometheus.NewRegistry())
}

func explainPeer(c *config.Config, text string) (edge.Peer, error) {
	address, err := netip.ParseAddrPort(text)
	if err != nil {
		alone, err := netip.ParseAddr(text)
		if err != nil {
			return edge.Peer{}, fmt.Errorf("--peer %q: want an IP address, such as 192.0.2.1 or 192.0.2.1:4711", text)
		}
		address = netip.AddrPortFrom(alone, 0)
	}
	address = netip.AddrPortFrom(address.Addr().Unmap().WithZone(""), address.Port())
	peer := edge.Peer{Address: address, Trusted: listen.Trusts(c.Peers(), address.Addr()), Scheme: "http"}
	if c.AllListeners()[0].TLS != nil {
		peer.Scheme = "https"
	}
	return peer, nil
}

// explainMap returns the map of a file, or else that of the store, or else the
// last good one.
func explainMap(ctx context.Context, c *config.Config, path string, words io.Writer) (*bucketmap.Snapshot, error) {
	if path != "" {
		next, err := readMap(path)
		if err != nil {
			return nil, fmt.Errorf("--map: %w", err)
		}
		return next, nil
	}
	next, err := loadWithin(ctx, &c.Map)
	if err == nil {
		return next, nil
	}
	if c.Map.Store == config.StorePush {
		err = errors.New("with store push publishers bring the map, and there is none to ask")
	}
	if c.Map.Cache == "" {
		return nil, fmt.Errorf("load the map by the section map (or give one by --map): %w", err)
	}
	kept, cacheErr := routing.ReadCache(c.Map.Cache)
	if kept == nil {
		return nil, fmt.Errorf("load the map by the section map (or give one by --map), or the last good one, %s: %w", c.Map.Cache, errors.Join(err, cacheErr))
	}
	fmt.Fprintf(words, "proxy: by the last good map, %s: %v\n", c.Map.Cache, err)
	return kept, nil
}

// readMap reads a map in YAML or in the binary form. Its signature is not looked
// at.
func readMap(path string) (*bucketmap.Snapshot, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	decode := yaml.Decode
	if binary.Is(text) {
		decode = func(data []byte) (*bucketmap.Snapshot, error) { return binary.Decode(data, nil) }
	}
	next, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return next, nil
}

// explanation is what is printed.
type explanation struct {
	Refused *struct {
		Status int    `json:"status"`
		Why    string `json:"why"`
		Remedy string `json:"remedy"`
	} `json:"refused,omitempty"`
	Method    string     `json:"method,omitempty"`
	Target    string     `json:"target,omitempty"`
	Host      string     `json:"host,omitempty"`
	Peer      string     `json:"peer"`
	Trusted   bool       `json:"trusted"`
	Identity  *whence    `json:"identity,omitempty"`
	Bucket    *uint32    `json:"bucket,omitempty"`
	Decision  *decided   `json:"decision,omitempty"`
	Hold      *heldUntil `json:"hold,omitempty"`
	Upstreams []servers  `json:"upstreams,omitempty"`
	Head      string     `json:"head,omitempty"`
}

// whence is where the user comes from.
type whence struct {
	Source string `json:"source,omitempty"` // the configuration's key and value
	User   string `json:"user,omitempty"`
	Error  string `json:"error,omitempty"`
}

type decided struct {
	Datacenter string `json:"datacenter"`
	Reason     string `json:"reason"`
	Shard      string `json:"shard,omitempty"`
	Epoch      uint64 `json:"epoch,omitempty"`
	MapVersion uint64 `json:"map_version"`
}

type heldUntil struct {
	Move  string    `json:"move"`
	Until time.Time `json:"until"`
}

type servers struct {
	Datacenter string   `json:"datacenter"`
	Servers    []string `json:"servers"`
}

// explained prints an explanation.
func (p *proxy) explained(out io.Writer, from edge.Peer, x *edge.Explanation, asJSON bool) error {
	e := p.explanation(from, x)
	if !asJSON {
		_, err := io.WriteString(out, e.text())
		return err
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("say it in JSON: %w", err)
	}
	_, err = out.Write(append(text, '\n'))
	return err
}

func (p *proxy) explanation(from edge.Peer, x *edge.Explanation) *explanation {
	e := &explanation{Method: x.Method, Target: x.Target, Host: x.Host, Peer: from.Address.Addr().String(), Trusted: x.Trusted}
	if x.Status != 0 {
		e.Refused = &struct {
			Status int    `json:"status"`
			Why    string `json:"why"`
			Remedy string `json:"remedy"`
		}{x.Status, x.Why, x.Remedy}
		return e
	}
	e.Identity = &whence{User: x.User}
	if x.Source >= 0 {
		e.Identity.Source = fmt.Sprintf("identity[%d], %s", x.Source, sourceName(&p.config.Identity[x.Source]))
	}
	if x.UserErr != nil {
		e.Identity.Error = x.UserErr.Error()
	}
	if x.HasBucket {
		b := uint32(x.Bucket)
		e.Bucket = &b
	}
	e.Decision = &decided{string(x.Datacenter), x.Reason, string(x.Shard), uint64(x.Epoch), uint64(x.MapVersion)}
	if x.Hold != nil {
		e.Hold = &heldUntil{string(x.Hold.Move), x.Hold.Until.UTC()}
	}
	first := p.config.Datacenters[string(x.Datacenter)]
	e.Upstreams = append(e.Upstreams, servers{string(x.Datacenter), first.Upstreams})
	for _, name := range first.Failover {
		e.Upstreams = append(e.Upstreams, servers{name, p.config.Datacenters[name].Upstreams})
	}
	e.Head = string(x.Head)
	return e
}

func sourceName(id *config.Identity) string {
	switch {
	case id.Header != "":
		return "header " + id.Header
	case id.Cookie != "":
		return "cookie " + id.Cookie
	case id.Query != "":
		return "query " + id.Query
	case id.Path != "":
		return "path " + id.Path
	case id.Bucket != "":
		return "bucket " + id.Bucket
	case id.JWT != nil:
		return "jwt, claim " + id.JWT.Claim
	default:
		return "nothing"
	}
}
