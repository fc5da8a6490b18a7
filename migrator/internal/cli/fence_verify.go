package cli

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"drover/bucketmap"
	"drover/internal/pause"
	"drover/migrator/internal/database"
	"drover/shardlib/fence"
	"drover/shardlib/fence/proof"
)

// proofResult is one table on one shard, tried as one account.
type proofResult struct {
	Shard      bucketmap.ShardName  `json:"shard"`
	Datacenter bucketmap.Datacenter `json:"datacenter"`
	Account    string               `json:"account"`
	Table      string               `json:"table"`
	Tried      int                  `json:"tried"`
	Wrong      []proof.Case         `json:"wrong"`
	Cases      []proof.Case         `json:"cases,omitempty"`
	Error      string               `json:"error,omitempty"`
	// Around are privileges by which the account gets around the fence.
	Around []string `json:"around,omitempty"`
}

func (a *app) fenceVerify() *cobra.Command {
	var names []string
	var user, passwordFile string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Prove on every shard that the triggers refuse what they must, by trying",
		Long: `Prove on every shard that the triggers refuse what they must, by trying.

Every kind of write is tried against every state of a bucket and of its shard,
as the application's account and as the migrator's, with made-up rows, in
transactions that are rolled back. A temporary table stands for the fence's, so
that no row of it is locked. Nothing is left behind but, perhaps, a value of
AUTO_INCREMENT that is skipped.

The application's account needs CREATE TEMPORARY TABLES, and INSERT, UPDATE and
DELETE on the tables. What privileges would let it get around the triggers is
listed: TRUNCATE, which needs DROP, fires none.

The exit code is 3 when a write passed that must not, was refused that must
not be, or could not be tried.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.open(); err != nil {
				return err
			}
			account, err := a.applicationAccount(user, passwordFile)
			if err != nil {
				return err
			}
			tables, err := a.chosenTables(names)
			if err != nil {
				return err
			}
			return a.verifyFence(cmd.Context(), tables, account)
		},
	}
	c.Flags().StringSliceVar(&names, "table", nil, "this table alone (repeat); all of the configuration's when not given")
	c.Flags().StringVar(&user, "as", "", "the application's database account (default: application.user of the configuration)")
	c.Flags().StringVar(&passwordFile, "password-file", "", "a file whose first line is that account's password")
	return c
}

// applicationAccount is the account that verify tries as: the flags', or the
// configuration's.
func (a *app) applicationAccount(user, passwordFile string) (database.Account, error) {
	account := a.cfg.Application.Database()
	if user != "" {
		account = database.Account{User: user}
		if passwordFile != "" {
			text, err := os.ReadFile(passwordFile)
			if err != nil {
				return account, fmt.Errorf("%w: --password-file: %w", errUsage, err)
			}
			account.Password, _, _ = strings.Cut(string(text), "\n")
			account.Password = strings.TrimSuffix(account.Password, "\r")
		}
	}
	switch account.User {
	case "":
		return account, fmt.Errorf("%w: give --as USER and --password-file FILE, or application.user in the configuration: the account of the application", errUsage)
	case a.cfg.Account.User:
		return account, fmt.Errorf("%w: %s is the migrator's own account, which passes the fence: name the application's", errUsage, account.User)
	}
	return account, nil
}

func (a *app) verifyFence(ctx context.Context, tables []fence.Sharded, application database.Account) error {
	snap, servers, err := a.primaries(ctx)
	if err != nil {
		return err
	}
	accounts := []database.Account{application, a.cfg.Account.Database()}
	results := make([]proofResult, len(servers)*len(accounts)*len(tables))
	at := map[*database.Server]int{}
	for i, server := range servers {
		at[server] = i * len(accounts) * len(tables)
	}
	_ = onServers(ctx, servers, func(ctx context.Context, server *database.Server) error {
		for i, account := range accounts {
			first := at[server] + i*len(tables)
			part := results[first : first+len(tables)]
			for k := range part {
				part[k] = proofResult{Shard: server.Shard, Datacenter: server.Datacenter, Account: account.User, Table: tables[k].Name}
			}
			if err := prove(ctx, server, account, account.User == a.cfg.Account.User, snap.Buckets(), tables, part); err != nil {
				for k := range part {
					if part[k].Error == "" && part[k].Tried == 0 {
						part[k].Error = err.Error()
					}
				}
			}
		}
		return nil // it is in the results
	})
	if err := a.printProof(results); err != nil {
		return err
	}
	bad := 0
	for _, r := range results {
		if r.Error != "" || len(r.Wrong) != 0 {
			bad++
		}
	}
	if bad != 0 {
		return fmt.Errorf("%w: the fence is not proved for %d of %d: run migrator fence install, or see the reasons", errRefused, bad, len(results))
	}
	return nil
}

// proofTimeout bounds a connection attempt of a proof.
const proofTimeout = 5 * time.Second

// prove tries the tables on one server as one account.
func prove(ctx context.Context, server *database.Server, account database.Account, exempt bool, buckets uint32,
	tables []fence.Sharded, results []proofResult) error {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.DBName = account.User, account.Password, "tcp", server.Addr, server.Database
	c.Timeout, c.InterpolateParams, c.Logger = proofTimeout, true, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return fmt.Errorf("%s as %s: %w", server.Name(), account.User, err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("%s as %s: %w", server.Name(), account.User, err)
	}
	defer func() {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // its session is changed
		_ = conn.Close()
	}()
	p, err := proof.New(ctx, conn, exempt)
	if err != nil {
		return fmt.Errorf("%s as %s: %w", server.Name(), account.User, err)
	}
	for i, sharded := range tables {
		cases, err := p.Table(ctx, sharded, buckets)
		if err != nil {
			results[i].Error = err.Error()
			continue
		}
		results[i].Tried, results[i].Cases, results[i].Wrong = len(cases), cases, proof.Wrong(cases)
	}
	if !exempt {
		around, err := p.Privileges(ctx)
		if err != nil {
			around = []string{"not known: " + err.Error()}
		}
		results[0].Around = around
	}
	return p.Close(context.WithoutCancel(ctx))
}

func (a *app) printProof(results []proofResult) error {
	if a.json() {
		return a.printJSON(results)
	}
	t := a.table("shard", "datacenter", "account", "table", "tried", "wrong", "")
	for _, r := range results {
		state := "proved"
		switch {
		case r.Error != "":
			state = r.Error
		case len(r.Wrong) != 0:
			state = "NOT PROVED"
		}
		t.AppendRow(table.Row{r.Shard, r.Datacenter, r.Account, r.Table, r.Tried, len(r.Wrong), state})
	}
	t.Render()
	for _, r := range results {
		if len(r.Wrong) != 0 {
			a.printf("\n%s on %s@%s as %s: P passed, r refused, ? not tried; wrong in brackets\n", r.Table, r.Shard, r.Datacenter, r.Account)
			a.printCases(r)
		}
	}
	for _, r := range results {
		for _, way := range r.Around {
			fmt.Fprintf(a.errOut, "warning: on %s@%s, %s can get around the fence: %s\n", r.Shard, r.Datacenter, r.Account, way)
		}
	}
	return nil
}

// printCases prints a row a statement and a column a condition.
func (a *app) printCases(r proofResult) {
	header := []any{"statement"}
	for _, c := range proof.Conditions() {
		header = append(header, string(c))
	}
	t := a.table(header...)
	var reasons []string
	for _, s := range proof.Statements() {
		line := table.Row{string(s)}
		for _, condition := range proof.Conditions() {
			shown := "-"
			for _, c := range r.Cases {
				if c.Statement != s || c.Condition != condition {
					continue
				}
				shown = map[proof.Outcome]string{proof.Passed: "P", proof.Refused: "r", proof.Untried: "?"}[c.Outcome]
				if !c.Right() {
					shown = "[" + shown + "]"
				}
				if c.Outcome == proof.Untried {
					reasons = append(reasons, c.Reason)
				}
			}
			line = append(line, shown)
		}
		t.AppendRow(line)
	}
	t.Render()
	if len(reasons) != 0 {
		a.printf("not tried: %s\n", reasons[0])
	}
}

// upgradeFence brings the fence's table on a server to this version, and tries
// again while transactions have it.
func upgradeFence(ctx context.Context, server *database.Server, patience time.Duration) error {
	conn, err := server.DB.Conn(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", server.Name(), err)
	}
	defer conn.Close()
	deadline := time.Now().Add(patience)
	for {
		err := fence.Upgrade(ctx, conn)
		switch {
		case err == nil:
			return nil
		case !database.TimedOut(err) || !time.Now().Before(deadline):
			return fmt.Errorf("%s: %w", server.Name(), err)
		}
		if ended := pause.For(ctx, upgradePause); ended != nil {
			return errors.Join(ended, err)
		}
	}
}

// upgradePause leaves the fence's table alone between two tries, for longer
// than the tenth of a second that a try takes.
const upgradePause = 250 * time.Millisecond
