package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// run runs the program as a command line does.
func run(ctx context.Context, args []string, out, messages io.Writer) error {
	c := command(out, messages)
	c.SetArgs(args)
	return c.ExecuteContext(ctx)
}

func TestRunPrintsServersThatAnswerUntilItIsInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan error)
	go func() {
		err := run(ctx, []string{"run", "--mariadb", "2", "--memcached", "1", "--replicate"}, writer, io.Discard)
		writer.CloseWithError(err)
		ended <- err
	}()

	printed := make(map[string]string)
	lines := bufio.NewScanner(reader)
	for printed["memcached1"] == "" && lines.Scan() {
		words := strings.Fields(lines.Text())
		printed[strings.Join(words[:len(words)-1], " ")] = words[len(words)-1]
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	// The table's last write may still be under way, and a pipe holds nothing.
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, reader)
	}()
	for _, key := range []string{"mariadb1 root", "mariadb1 app", "mariadb1 drover", "mariadb2 app"} {
		ping(t, printed[key])
	}
	interrupt()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	<-drained
	if _, err := os.Stat(printed["folder"]); !os.IsNotExist(err) {
		t.Errorf("the folder %q: %v", printed["folder"], err)
	}
}

func ping(t *testing.T, dsn string) {
	t.Helper()
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	defer pool.Close()
	if err := pool.PingContext(t.Context()); err != nil {
		t.Errorf("%s: %v", dsn, err)
	}
}

func TestInstallAndSweepSayNothingWhenThereIsNothingToDo(t *testing.T) {
	for _, args := range [][]string{{"install"}, {"install"}, {"sweep"}} {
		var out, messages bytes.Buffer
		if err := run(t.Context(), args, &out, &messages); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		if args[0] == "install" && out.Len() > 0 {
			t.Errorf("%v: %s", args, &out)
		}
	}
}

func TestBadArgumentsAreRefused(t *testing.T) {
	for _, args := range [][]string{{"run", "--mariadb", "-1"}, {"run", "--memcached", "1000"}, {"run", "x"}, {"fly"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
