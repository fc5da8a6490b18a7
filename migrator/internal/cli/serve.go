package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"drover/internal/logging"
	"drover/migrator/internal/console"
)

// consoleSecretMax bounds the files of migrator serve that hold a token or
// certificates.
const consoleSecretMax = 1 << 20

// consoleFlags are the flags of migrator serve.
type consoleFlags struct {
	listen                     string
	tokenFile, readerTokenFile string
	cert, key, clientCA        string
	operators                  []string
	campaign                   string
	trace                      bool
	traceProxies               []string
}

func (a *app) serveCommand() *cobra.Command {
	var f consoleFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the console: one page that shows where everybody is and what is under way",
		Long: `Serve the console: one page that shows where everybody is and what is under
way, as it happens, until interrupted.

Who shows the token of --token-file is an operator, and may press the buttons;
who shows that of --reader-token-file may look. A token is the first line of its
file. With --client-ca, who has a certificate of that authority comes in without
a token, as a reader, or as an operator where --operator has the certificate's
common name.

It shows the campaign in the folder of --campaign, whose orders are buttons for
operators, and looks at the objectives of the section slo. With --trace it sends
tracers all the time, as trace --all --watch does.

Without --tls-cert and --tls-key the address must be loopback. From elsewhere:
ssh -L 9920:127.0.0.1:9920 HOST. Programs send Authorization: Bearer TOKEN.`,
		Example: `  openssl rand -hex 32 > console.token
  migrator serve --token-file console.token
  migrator serve --listen :9920 --tls-cert console.crt --tls-key console.key --client-ca team.crt --operator ann`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.open(); err != nil {
				return err
			}
			return a.serveConsole(cmd.Context(), f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:9920", "the address, host:port; without a host loopback, or with TLS every address")
	flags.StringVar(&f.tokenFile, "token-file", "", "a file whose first line is the operators' token")
	flags.StringVar(&f.readerTokenFile, "reader-token-file", "", "a file whose first line is the readers' token")
	flags.StringVar(&f.cert, "tls-cert", "", "the server's certificate, PEM")
	flags.StringVar(&f.key, "tls-key", "", "that certificate's key, PEM")
	flags.StringVar(&f.clientCA, "client-ca", "", "the authority whose certificates let people in, PEM")
	flags.StringSliceVar(&f.operators, "operator", nil, "the common name of a certificate whose owner is an operator; may be given again")
	flags.StringVar(&f.campaign, "campaign", "", `the folder of campaigns (default "campaign" beside the configuration file); it need not be there yet`)
	flags.BoolVar(&f.trace, "trace", false, "send tracers all the time, by the section tracers")
	flags.StringArrayVar(&f.traceProxies, "trace-proxy", nil, "only through this proxy, by its name or URL in the section tracers; may be given again")
	return c
}

func (a *app) serveConsole(ctx context.Context, f consoleFlags) error {
	shared := newSharedMap(a.store)
	options, err := a.consoleOptions(f, shared)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	server, err := console.Listen(ctx, options)
	if errors.Is(err, console.ErrOptions) {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err != nil {
		return err
	}
	scheme := "http"
	if options.TLS != nil {
		scheme = "https"
	}
	url := scheme + "://" + server.Addr().String() + "/"
	if a.json() {
		if err := a.printJSON(map[string]string{"url": url}); err != nil {
			return err
		}
	}
	a.printf("the console is at %s\n", url)
	g, serving := errgroup.WithContext(ctx)
	g.Go(func() error { return shared.run(serving) })
	g.Go(func() error { return server.Serve(serving) })
	err = g.Wait()
	if ctx.Err() != nil {
		a.ended = true
	}
	return err
}

func (a *app) consoleOptions(f consoleFlags, shared *sharedMap) (console.Options, error) {
	dir, err := (&campaigns{app: a, state: f.campaign}).dir()
	if err != nil {
		return console.Options{}, err
	}
	o := console.Options{Listen: f.listen, Maps: shared, Weight: a.weights, Sources: a.consoleSources(f, shared, dir), Actions: a.consoleActions(dir)}
	o.Access = console.Access{Certificates: f.clientCA != "", Operators: f.operators}
	if err := a.checkTracers(f); err != nil {
		return o, err
	}
	if o.Access.OperatorToken, err = tokenOf("--token-file", f.tokenFile); err != nil {
		return o, err
	}
	if o.Access.ReaderToken, err = tokenOf("--reader-token-file", f.readerTokenFile); err != nil {
		return o, err
	}
	if o.Access.OperatorToken == "" && o.Access.ReaderToken == "" && f.clientCA == "" {
		return o, errors.New("nobody could come in: openssl rand -hex 32 > console.token, and give --token-file console.token; or give --client-ca")
	}
	if o.TLS, err = f.tls(); err != nil {
		return o, err
	}
	o.Log, err = logging.New(a.errOut, a.cfg.Log.Level, a.cfg.Log.Format)
	return o, err
}

// checkTracers says at once what would be wrong with the tracers.
func (a *app) checkTracers(f consoleFlags) error {
	if !f.trace {
		if len(f.traceProxies) != 0 {
			return errors.New("--trace-proxy is of no use without --trace")
		}
		return nil
	}
	t, err := a.openTracer(f.traceProxies, nil)
	if err != nil {
		return err
	}
	t.Close()
	return nil
}

// tls is the server's TLS configuration, nil for clear text.
func (f consoleFlags) tls() (*tls.Config, error) {
	if f.cert == "" && f.key == "" && f.clientCA == "" {
		return nil, nil
	}
	if f.cert == "" || f.key == "" {
		return nil, errors.New("give --tls-cert and --tls-key, both: --client-ca is of no use without them")
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if f.clientCA == "" {
		return config, nil
	}
	text, err := readSmall(f.clientCA)
	if err != nil {
		return nil, fmt.Errorf("--client-ca: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--client-ca: %s has no certificate in PEM", f.clientCA)
	}
	config.ClientAuth = tls.VerifyClientCertIfGiven // who has none may have a token
	return config, nil
}

// tokenOf is a token in a file, "" when no file is given.
func tokenOf(flag, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := readSmall(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("%s: the first line of %s is empty: it is the token", flag, path)
	}
	return line, nil
}

func readSmall(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, consoleSecretMax+1))
	if err == nil && len(text) > consoleSecretMax {
		err = fmt.Errorf("%s is longer than %d bytes: is it the right file?", path, consoleSecretMax)
	}
	return text, err
}
