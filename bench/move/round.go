package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sync/errgroup"

	"drover/bench/internal/events"
	"drover/tools/testservers"
)

// round measures everything once, for buckets that the round chooses.
func (b *bench) round(ctx context.Context, n int) error {
	first := n * moved % (buckets - moved + 1)
	where := fmt.Sprintf("bucket BETWEEN %d AND %d", first, first+moved-1)
	kinds := []func() error{
		func() error { return b.byMigrator(ctx, first, where) },
		func() error { return b.byDump(ctx, where) },
		func() error { return b.byLoad(ctx, where) },
	}
	for i := range kinds {
		if err := kinds[(i+n)%len(kinds)](); err != nil {
			return err
		}
	}
	return nil
}

// byMigrator moves the buckets, gives their new home a backlog, returns and
// finishes, so that the next round finds what this one did.
func (b *bench) byMigrator(ctx context.Context, first int, where string) error {
	told, err := b.command(ctx, "bucket", "move", fmt.Sprintf("%d-%d", first, first+moved-1), "--to", "gamma")
	if err != nil {
		return err
	}
	took, err := events.Between(told, "copying", "verifying")
	if err != nil {
		return err
	}
	b.move, b.moveCPU = append(b.move, took), append(b.moveCPU, b.spent)
	if err := b.same(ctx, b.there, "app", where); err != nil {
		return fmt.Errorf("the move: %w", err)
	}
	move := told[0].Move
	if err := b.backlog(ctx, where); err != nil {
		return fmt.Errorf("the backlog: %w", err)
	}
	if told, err = b.command(ctx, "bucket", "return", move); err != nil {
		return err
	}
	if took, err = events.Between(told, "tailing", "verifying"); err != nil {
		return err
	}
	b.apply = append(b.apply, took)
	if err := b.same(ctx, b.there, "app", where); err != nil {
		return fmt.Errorf("the return: %w", err)
	}
	_, err = b.command(ctx, "bucket", "finish", move)
	return err
}

// checksum is of all rows that a condition chooses.
func checksum(ctx context.Context, db *sql.DB, database, where string) (text string, err error) {
	err = db.QueryRowContext(ctx, "SELECT CONCAT(COUNT(*), ' rows, ', COALESCE(SUM(CRC32(CONCAT_WS('#', bucket, user_id, day, steps, note, updated))), 0)) FROM "+
		database+".steps WHERE "+where).Scan(&text)
	return text, err
}

func (b *bench) same(ctx context.Context, db *sql.DB, database, where string) error {
	want, err := checksum(ctx, b.here, "app", where)
	if err != nil {
		return err
	}
	got, err := checksum(ctx, db, database, where)
	if err == nil && got != want {
		err = fmt.Errorf("%s at the source and %s at the target", want, got)
	}
	return err
}

// changesEach is how many row changes one transaction of the backlog makes.
const changesEach = 10

// backlog changes rows at the target: passes over the users, a transaction a
// user, until there are enough changes. Every second pass undoes the deletes and
// inserts of the one before.
func (b *bench) backlog(ctx context.Context, where string) error {
	rows, err := b.there.QueryContext(ctx, "SELECT DISTINCT user_id FROM steps WHERE "+where)
	if err != nil {
		return err
	}
	defer rows.Close()
	var users []string
	for rows.Next() {
		var user string
		if err := rows.Scan(&user); err != nil {
			return err
		}
		users = append(users, user)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if len(users) == 0 {
		return errors.New("there are no users: raise --rows")
	}
	const writers = 4
	group, ctx := errgroup.WithContext(ctx)
	for w := range writers {
		group.Go(func() error {
			for i := w; i < b.changes/changesEach; i += writers {
				if _, err := b.there.ExecContext(ctx, backlogTransaction(users[i%len(users)], i/len(users))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// backlogTransaction is one statement for the server: 4 updates, 3 deletes and
// 3 inserts of the user's rows.
func backlogTransaction(user string, pass int) string {
	gone, come := "2026-01-0%d", "2026-02-0%d"
	if pass%2 == 1 {
		gone, come = come, gone
	}
	list := func(format string) string { return fmt.Sprintf("'"+format+"','"+format+"','"+format+"'", 7, 8, 9) }
	text := "BEGIN NOT ATOMIC START TRANSACTION; UPDATE steps SET steps = steps + 1, note = CONCAT('changed ', steps) WHERE user_id = '" + user +
		"' AND day BETWEEN '2026-01-01' AND '2026-01-04'; DELETE FROM steps WHERE user_id = '" + user + "' AND day IN (" + list(gone) + ");"
	for day := 7; day <= 9; day++ {
		text += fmt.Sprintf("INSERT INTO steps VALUES (CRC32('%s') %% %d, '%s', '"+come+"', %d, 'new', '2026-01-01 00:00:00.5');", user, buckets, user, day, pass)
	}
	return text + "COMMIT; END"
}

// clientArgs are the address and account for MariaDB's own programs.
func clientArgs(m *testservers.MariaDB) []string {
	return []string{"--no-defaults", "--host=" + m.Host(), fmt.Sprintf("--port=%d", m.Port()), "--protocol=tcp", "--skip-ssl",
		"--user=" + testservers.AccountDrover, "--password=" + testservers.Password}
}

// byDump copies as people do.
func (b *bench) byDump(ctx context.Context, where string) error {
	if err := b.target.Exec(ctx, "TRUNCATE TABLE rival.steps"); err != nil {
		return err
	}
	dump := exec.CommandContext(ctx, "mariadb-dump", append(clientArgs(b.source), "--single-transaction", "--no-create-info", "--where="+where, "app", "steps")...)
	client := exec.CommandContext(ctx, "mariadb", append(clientArgs(b.target), "rival")...)
	var said bytes.Buffer
	dump.Stderr, client.Stderr = &said, &said
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	dump.Stdout, client.Stdin = write, read
	began := time.Now()
	err = errors.Join(dump.Start(), client.Start(), write.Close(), read.Close())
	if err == nil {
		err = errors.Join(dump.Wait(), client.Wait())
	}
	if err != nil {
		return fmt.Errorf("mariadb-dump | mariadb: %w\n%s", err, said.String())
	}
	b.dump, b.dumpCPU = append(b.dump, time.Since(began)), append(b.dumpCPU, spentBy(dump)+spentBy(client))
	if err := b.same(ctx, b.there, "rival", where); err != nil {
		return fmt.Errorf("the dump: %w", err)
	}
	return nil
}

func (b *bench) file() string { return filepath.Join(b.dir, "rows.tsv") }

// export writes the rows to a file. No value has a byte that needs an escape.
func (b *bench) export(ctx context.Context, where string) (err error) {
	rows, err := b.here.QueryContext(ctx, "SELECT CONCAT_WS('\t', bucket, user_id, day, steps, note, updated) FROM steps WHERE "+where)
	if err != nil {
		return err
	}
	defer rows.Close()
	file, err := os.Create(b.file())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w := bufio.NewWriter(file)
	var line sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&line); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\n", line)
	}
	return errors.Join(rows.Err(), w.Flush())
}

// byLoad reads the file, which is the server's own work alone.
func (b *bench) byLoad(ctx context.Context, where string) error {
	if err := b.target.Exec(ctx, "TRUNCATE TABLE rival.steps"); err != nil {
		return err
	}
	if err := b.export(ctx, where); err != nil { // now: the backlog came back with the move
		return err
	}
	mysql.RegisterLocalFile(b.file())
	defer mysql.DeregisterLocalFile(b.file())
	began := time.Now()
	if _, err := b.there.ExecContext(ctx, "LOAD DATA LOCAL INFILE '"+b.file()+"' INTO TABLE rival.steps CHARACTER SET utf8mb4"); err != nil {
		return err
	}
	b.load = append(b.load, time.Since(began))
	if err := b.same(ctx, b.there, "rival", where); err != nil {
		return fmt.Errorf("LOAD DATA: %w", err)
	}
	return nil
}
