package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"drover/bucketmap"
	"drover/internal/testrun"
	"drover/tools/testservers"
)

// interrupt is what Ctrl-C sends.
const interrupt = "\x03"

// terminal is a command on a terminal of its own.
type terminal struct {
	t     *testing.T
	cmd   *exec.Cmd
	file  *os.File
	ended chan struct{} // closed when nothing more is shown

	mu    sync.Mutex
	shown strings.Builder
	more  chan struct{} // closed, and another one made, when more is shown
}

func (r *rig) terminal(args ...string) *terminal {
	r.t.Helper()
	c := &terminal{t: r.t, cmd: r.command(args...), ended: make(chan struct{}), more: make(chan struct{})}
	var err error
	c.file, err = pty.Start(c.cmd)
	must(r.t, err)
	go func() {
		defer close(c.ended)
		_, _ = io.Copy(c, c.file) // a terminal whose program is gone is an error
	}()
	return c
}

func (c *terminal) Write(text []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.more)
	c.more = make(chan struct{})
	return c.shown.Write(text)
}

func (c *terminal) text() string {
	text, _ := c.textNow()
	return text
}

// textNow is what is shown, and the channel that is closed when there is more.
func (c *terminal) textNow() (string, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown.String(), c.more
}

// until waits until the words are shown.
func (c *terminal) until(words string) {
	c.t.Helper()
	deadline := time.After(time.Minute)
	for {
		text, more := c.textNow()
		if strings.Contains(text, words) {
			return
		}
		select {
		case <-more:
		case <-deadline:
			c.t.Fatalf("%q was never shown:\n%s", words, text)
		}
	}
}

func (c *terminal) types(text string) {
	c.t.Helper()
	_, err := c.file.WriteString(text)
	must(c.t, err)
}

// end waits for the command, and returns its exit code or the signal that ended it.
func (c *terminal) end() (int, syscall.Signal) {
	c.t.Helper()
	err := c.cmd.Wait()
	<-c.ended
	must(c.t, c.file.Close())
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	status := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return -1, status.Signal()
	}
	return status.ExitStatus(), 0
}

// awaitQuery waits until the migrator is at such a statement on a server.
func (r *rig) awaitQuery(server int, like string) {
	r.t.Helper()
	db, err := r.servers[server].Open(testservers.AccountRoot, "")
	must(r.t, err)
	defer db.Close()
	testrun.Until(r.t, "a statement like "+like, func() error {
		var n int
		err := db.QueryRowContext(r.t.Context(), "SELECT COUNT(*) FROM information_schema.processlist WHERE user = ? AND command = 'Query' AND info LIKE ?",
			testservers.AccountDrover, like).Scan(&n)
		if err == nil && n == 0 {
			err = errors.New("none is under way")
		}
		return err
	})
}

func (c *terminal) wantEnd(code int, words ...string) {
	c.t.Helper()
	have, signal := c.end()
	if have != code {
		c.t.Errorf("exit code %d, signal %v, want %d:\n%s", have, signal, code, c.text())
	}
	for _, w := range words {
		if !strings.Contains(c.text(), w) {
			c.t.Errorf("%q is not shown:\n%s", w, c.text())
		}
	}
}

func TestAnOperatorAtATerminalInterruptsResumesAndConfirms(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	user := bucketmap.UserID("user-0")
	must(t, r.update(t.Context(), user, 1))
	bucket := fmt.Sprint(bucketmap.Bucket([]byte(user), killBuckets))
	// held is a transaction of somebody else's.
	held := func(server int, query string) *sql.Tx {
		db, err := r.servers[server].Open(testservers.AccountRoot, "app")
		must(t, err)
		t.Cleanup(func() { must(t, db.Close()) })
		tx, err := db.BeginTx(t.Context(), nil)
		must(t, err)
		_, err = tx.ExecContext(t.Context(), query)
		must(t, err)
		return tx
	}

	// The first interrupt stops in order, says how to go on, and leaves the bucket
	// writable.
	open := held(0, "SELECT * FROM drover_fence WHERE bucket = "+bucket+" LOCK IN SHARE MODE")
	c := r.terminal("bucket", "move", bucket, "--to", "gamma")
	c.until("waiting, try")
	c.types(interrupt)
	c.wantEnd(130, "stepping back and stopping; interrupt again to end at once", "run migrator resume m-")
	must(t, open.Rollback())
	must(t, r.update(t.Context(), user, 2))
	c = r.terminal("resume", bucket)
	c.wantEnd(0, "is soaking")

	// The second one ends at once: a write under way is waited for no longer.
	open = held(0, "SELECT * FROM step WHERE user_id = '"+string(user)+"' FOR UPDATE")
	c = r.terminal("bucket", "soak", bucket)
	must(t, r.libraryCatchesUp())
	must(t, r.update(t.Context(), user, 3))
	c.until("transactions behind")
	r.awaitQuery(0, "%step%")
	c.types(interrupt)
	c.until("interrupt again to end at once")
	c.types(interrupt)
	if code, signal := c.end(); signal != syscall.SIGINT {
		t.Errorf("exit code %d, signal %v after two interrupts, want an end by SIGINT", code, signal)
	}
	must(t, open.Rollback())
	c = r.terminal("bucket", "return", bucket)
	c.wantEnd(0, "soaking")

	// What is for good is typed: nothing else will do, and an interrupt is a no.
	version := r.version()
	for answer, code := range map[string]int{"yes\n": 3, "\n": 3, bucket + "0\n": 3, "\x04": 3, interrupt: 130} {
		c = r.terminal("bucket", "finish", bucket)
		c.until("type " + bucket + " to go on: ")
		c.types(answer)
		c.wantEnd(code, "nothing was changed")
	}
	if states := r.openMoves(); len(states) != 1 || states[0] != "soaking" || r.version() != version {
		t.Errorf("%v under way, map version %d: want it soaking at version %d", states, r.version(), version)
	}
	c = r.terminal("bucket", "finish", bucket)
	c.until("type " + bucket + " to go on: ")
	c.types(bucket + "\n")
	c.wantEnd(0, "done")
	if states := r.openMoves(); len(states) != 0 {
		t.Errorf("%v under way, want nothing", states)
	}
	must(t, r.libraryCatchesUp())
	if n := r.check(); n != 3 {
		t.Errorf("%d writes acknowledged, want 3", n)
	}
}

// libraryCatchesUp waits until the application has the newest map.
func (r *rig) libraryCatchesUp() error {
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	return r.library.AtLeast(ctx, r.version())
}
