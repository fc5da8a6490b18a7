package promote

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// Statement is one thing that a promotion does, or would do.
type Statement struct {
	State  State  `json:"state"`
	Server string `json:"server"` // its name, or "map", or "hook"
	// Do is the statement with its values. What is secret, or not known before
	// the run, is written as one of the words below.
	Do string `json:"do"`
	// Wait is true for what only waits. It may be done again, or not at all.
	Wait bool `json:"wait,omitempty"`
}

// The words that stand in a Statement for values that a dry run cannot know, or
// that nobody shall see.
const (
	wordMove     = "p-…"
	wordPassword = "…"
	wordPosition = "…"
)

// command is one statement that changes something on a server. Every one that a
// promotion executes, but the journal's, is made by a function of this file, for
// the run and for the dry run, and executed by do or through recorder.
type command struct {
	text string
	args []any
	show []any // in the place of args, where they are not to be seen
}

func (o command) String() string {
	args := o.args
	if o.show != nil {
		args = o.show
	}
	return written(o.text, args)
}

// written puts the values into a statement, as the server logs them.
func written(text string, args []any) string {
	var b strings.Builder
	for _, arg := range args {
		before, after, found := strings.Cut(text, "?")
		if !found {
			break
		}
		b.WriteString(before)
		switch v := arg.(type) {
		case string:
			b.WriteString("'" + strings.ReplaceAll(v, "'", "''") + "'")
		default:
			fmt.Fprint(&b, v)
		}
		text = after
	}
	return b.String() + text
}

func commandReadOnly(on bool) command {
	if on {
		return command{text: "SET GLOBAL read_only = 1"}
	}
	return command{text: "SET GLOBAL read_only = 0"}
}

// commandsLenient are what lets the migrator write on a server that stays
// read-only for others: a replica may have been read-only for it, too.
func commandsLenient(d database.Dialect) []command { return unlessNone(command{text: d.Lenient}) }

// commandsStrict are what makes a replica read-only for the migrator, too. It
// implies read_only, and "SET GLOBAL read_only = 0" takes back both.
func commandsStrict(d database.Dialect) []command { return unlessNone(command{text: d.Strict}) }

// unlessNone is none for a statement that the dialect does not have.
func unlessNone(o command) []command {
	if o.text == "" {
		return nil
	}
	return []command{o}
}

func commandStop(d database.Dialect, connection string) command {
	return command{text: d.Stop, args: []any{connection}}
}

func commandStart(d database.Dialect, connection string) command {
	return command{text: d.Start, args: []any{connection}}
}

func commandForget(d database.Dialect, connection string) command {
	return command{text: d.Forget, args: []any{connection}}
}

// commandsPosition are none where a server asks its next primary by what it has.
func commandsPosition(d database.Dialect, p database.Position) []command {
	return unlessNone(command{text: d.SetReplicated, args: []any{p.String()}, show: []any{wordPosition}})
}

func commandFollow(d database.Dialect, link database.Link, account database.Account) command {
	o := command{}
	o.text, o.args = d.FollowStatement(link, account)
	_, o.show = d.FollowStatement(link, database.Account{User: account.User, Password: wordPassword})
	return o
}

// The changes of the shard's row, in their order.

func changeClaim(token fence.Token) fence.Change {
	return fence.Change{From: fence.Active, To: fence.Active, ToToken: token}
}

func changeFreeze(token fence.Token) fence.Change {
	return fence.Change{From: fence.Active, FromToken: token, To: fence.Frozen, ToToken: token}
}

func changeThaw(token fence.Token) fence.Change {
	return fence.Change{From: fence.Frozen, FromToken: token, To: fence.Active, ToToken: token}
}

func changeCommit(token fence.Token) fence.Change {
	return fence.Change{From: fence.Frozen, FromToken: token, To: fence.Moved, ToToken: token}
}

func changeActivate(from fence.State, token fence.Token, id uint32) fence.Change {
	return fence.Change{From: from, FromToken: token, To: fence.Active, ToToken: token, EpochUp: 1, ServerID: id}
}

func changeRelease(token fence.Token) fence.Change {
	return fence.Change{From: fence.Active, FromToken: token, To: fence.Active}
}

// recorder passes statements on, and tells of those that change something.
type recorder struct {
	fence.Querier
	tell func(text string)
}

func (c recorder) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	c.tell(written(query, args))
	return c.Querier.ExecContext(ctx, query, args...)
}

// lister only tells of statements: it is the server of a dry run.
type lister struct{ tell func(text string) }

func (l lister) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	l.tell(written(query, args))
	return driver.RowsAffected(1), nil
}

var errDryRun = errors.New("a dry run reads nothing here")

func (l lister) QueryContext(context.Context, string, ...any) (*sql.Rows, error) {
	return nil, errDryRun
}

// tell reports a statement that is about to be executed.
func (r *run) tell(server, text string) {
	if r.Executed != nil {
		text = strings.ReplaceAll(text, string(r.promotion.Record.Move), wordMove)
		r.Executed(Statement{State: r.promotion.State(), Server: server, Do: text})
	}
}

// do executes a command.
func (r *run) do(ctx context.Context, server *database.Server, o command) error {
	return r.doOn(ctx, server, server.DB, o)
}

func (r *run) doOn(ctx context.Context, server *database.Server, q interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, o command) error {
	r.tell(server.Name(), o.String())
	if _, err := q.ExecContext(ctx, o.text, o.args...); err != nil {
		return fmt.Errorf("database %s: %s: %w", server.Name(), o, err)
	}
	return nil
}

// doAll executes commands in their order.
func (r *run) doAll(ctx context.Context, server *database.Server, commands []command) error {
	for _, o := range commands {
		if err := r.do(ctx, server, o); err != nil {
			return err
		}
	}
	return nil
}

// change changes the shard's row within a transaction on a server. It waits for
// the row's lock for queue, 0 for as long as the session waits; new writers
// queue behind it.
func (r *run) change(ctx context.Context, server *database.Server, tx *sql.Tx, queue time.Duration, c fence.Change) error {
	return server.EndAfter(ctx, tx, queue, func() error {
		return fence.TransitionWithin(ctx, recorder{tx, func(text string) { r.tell(server.Name(), text) }}, lockBound(r.dialect, queue), c)
	})
}

// textHold, textHome and textJournal are what is shown of changes that are no
// statements.
func (e *Engine) textHold(d Detail) string {
	return fmt.Sprintf("hold shard %s for %s at most; wait %s for the proxies' acknowledgements", d.Shard, e.Limits.Hold.Until, e.Limits.Hold.Ack)
}

func textHome(d Detail) string {
	return fmt.Sprintf("shard %s lives in %s, epoch %d; end the hold", d.Shard, d.Target, d.Epoch+d.up())
}

func textJournal(s State) string { return "journal: " + string(s) }

// lockBound is the prefix of statements that wait for the shard's row for so
// long. MySQL has none: there they are ended from another connection.
func lockBound(d database.Dialect, queue time.Duration) string {
	if queue == 0 || d.MySQL() {
		return ""
	}
	return database.WithinMillis(int(queue.Milliseconds()))
}

// Statements lists what a promotion would do, in order: what it executes, where,
// and where it waits. It changes nothing, and shows no password.
func (e *Engine) Statements(ctx context.Context, plan Plan) ([]Statement, error) {
	x, err := e.find(ctx, plan)
	if err != nil {
		return nil, err
	}
	d, err := e.accepts(ctx, x.to)
	if err != nil {
		return nil, err
	}
	id, err := x.to.ServerID(ctx)
	if err != nil {
		return nil, err
	}
	upstream, err := x.to.OneUpstream(ctx)
	if err != nil {
		return nil, err
	}
	link := upstream.Link
	if link.Host, link.Port, err = x.to.HostPort(); err != nil {
		return nil, err
	}
	s := &script{Engine: e, dialect: d, from: x.from.Name(), to: x.to.Name(), token: fence.Token{Move: wordMove, Run: 1},
		detail: Detail{Shard: plan.Shard, Source: x.shard.Datacenter, Target: plan.Target, Epoch: x.shard.Epoch}}
	if s.strict, err = isStrict(ctx, x.to, d); err != nil {
		return nil, err
	}
	s.before(ctx)
	s.after(ctx, id, upstream.Connection, link)
	return s.all, nil
}

// script writes down what a promotion does when all goes well.
type script struct {
	*Engine
	dialect  database.Dialect
	strict   bool // the replica is read-only for the migrator, too
	from, to string
	token    fence.Token
	detail   Detail
	all      []Statement
}

func (s *script) add(state State, server, do string) {
	s.all = append(s.all, Statement{State: state, Server: server, Do: do})
}

func (s *script) wait(state State, server, do string) {
	s.all = append(s.all, Statement{State: state, Server: server, Do: do, Wait: true})
}

func (s *script) hooks(state State, at HookPoint) {
	for _, h := range s.Hooks {
		if h.At == at {
			s.add(state, "hook", h.text())
		}
	}
}

func (s *script) change(ctx context.Context, state State, server string, queue time.Duration, c fence.Change) {
	// A lister fails at nothing.
	_ = fence.TransitionWithin(ctx, lister{func(text string) { s.add(state, server, text) }}, lockBound(s.dialect, queue), c)
	s.ended(state, server, queue)
}

// ended says what ends the statement before it, where its own words do not.
func (s *script) ended(state State, server string, bound time.Duration) {
	if s.dialect.MySQL() && bound != 0 {
		s.wait(state, server, fmt.Sprintf("KILL QUERY …, if that takes longer than %s", bound))
	}
}

func (s *script) bounds(state State, server string, bound time.Duration) {
	s.add(state, server, commandBounds(s.dialect, bound).String())
}

func (s *script) addAll(state State, server string, commands []command) {
	for _, o := range commands {
		s.add(state, server, o.String())
	}
}

// await is the wait for what another server has.
func (s *script) await(whose, limit string) string {
	function, _, _ := strings.Cut(s.dialect.Await, "(")
	return fmt.Sprintf("%s(@@%s of the %s, %s)", function, s.dialect.Position, whose, limit)
}

// before is what is done up to the commit point.
func (s *script) before(ctx context.Context) {
	s.add(Planned, s.from, textJournal(Planned))
	if s.strict {
		s.addAll(Planned, s.to, commandsLenient(s.dialect))
	}
	s.add(Planned, s.from, textJournal(Replicating))
	s.change(ctx, Replicating, s.from, s.Limits.FreezeLock, changeClaim(s.token))
	s.add(Replicating, s.from, textJournal(CatchingUp))
	s.wait(CatchingUp, s.to, s.await("primary", fmt.Sprintf("%.3f", s.Limits.CatchUp.Seconds()))+", until it is in time")
	s.hooks(CatchingUp, BeforeFreeze)
	s.add(CatchingUp, s.from, textJournal(Holding))
	s.add(Holding, "map", s.textHold(s.detail))
	s.add(Holding, s.from, textJournal(Freezing))
	s.bounds(Freezing, s.from, 0)
	s.change(ctx, Freezing, s.from, s.Limits.FreezeLock, changeFreeze(s.token))
	s.bounds(Freezing, s.from, s.Limits.ReadOnly)
	s.add(Freezing, s.from, commandReadOnly(true).String())
	s.ended(Freezing, s.from, s.Limits.ReadOnly)
	s.wait(Freezing, s.to, s.await("primary", "…")+", within "+s.Limits.Freeze.String()+" since the freeze")
	s.hooks(Freezing, BeforeCommit)
	s.bounds(Freezing, s.from, 0)
	s.change(ctx, Freezing, s.from, 0, changeCommit(s.token))
	s.add(Freezing, s.from, textJournal(Switching)+" (in the transaction of the commit point)")
}

// after is what is done past it.
func (s *script) after(ctx context.Context, id uint32, connection string, link database.Link) {
	s.wait(Switching, s.to, s.await("old primary", "…"))
	s.add(Switching, s.to, commandStop(s.dialect, connection).String())
	s.add(Switching, s.to, commandForget(s.dialect, connection).String())
	s.addAll(Switching, s.to, commandsLenient(s.dialect))
	s.bounds(Switching, s.to, 0)
	s.change(ctx, Switching, s.to, 0, changeActivate(fence.Moved, s.token, id))
	s.bounds(Switching, s.to, s.Limits.ReadOnly)
	s.add(Switching, s.to, commandReadOnly(false).String())
	s.ended(Switching, s.to, s.Limits.ReadOnly)
	s.add(Switching, s.to, textJournal(Publishing))
	s.hooks(Publishing, AfterCommit)
	s.add(Publishing, "map", textHome(s.detail))
	s.add(Publishing, s.to, textJournal(Reversing))
	s.hooks(Reversing, AfterPromote)
	s.addAll(Reversing, s.from, commandsStrict(s.dialect))
	s.addAll(Reversing, s.from, commandsPosition(s.dialect, nil))
	s.add(Reversing, s.from, commandFollow(s.dialect, link, s.Replication).String())
	s.add(Reversing, s.from, commandStart(s.dialect, "").String())
	s.hooks(Reversing, AfterReverse)
	s.add(Reversing, s.to, textJournal(Done))
	s.change(ctx, Reversing, s.to, s.Limits.FreezeLock, changeRelease(s.token))
}
