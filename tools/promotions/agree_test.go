package promotions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"drover/bucketmap"
	"drover/tools/internal/book"
)

// promotion is what the journal says of one.
type promotion struct {
	id, state string
	open      bool
}

// promotions reads the journal on a server, the oldest first.
func (s *side) promotions(ctx context.Context) ([]promotion, error) {
	rows, err := s.root.QueryContext(ctx, "SELECT id, state, open FROM app.drover_move ORDER BY created, id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []promotion
	for rows.Next() {
		var p promotion
		if err := rows.Scan(&p.id, &p.state, &p.open); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

// newest is the promotion that was begun last, by the primary's journal.
func (w *world) newest() promotion {
	w.t.Helper()
	all, err := w.sides[w.home().Datacenter].promotions(w.t.Context())
	must(w.t, err)
	if len(all) == 0 {
		return promotion{state: "nothing"}
	}
	return all[len(all)-1]
}

// replicaStatus is the replica's status once it is not connecting any more, or has
// failed to: one that was just started takes a moment.
func (w *world) replicaStatus(s *side) (status replication, err error) {
	w.until("the replica has connected", func() error {
		status, err = s.status(w.t.Context())
		if io := status["Slave_IO_Running"]; err == nil && (io == "Connecting" || io == "Preparing") && status["Last_IO_Error"] == "" {
			return errors.New(io)
		}
		return nil
	})
	return status, err
}

// disagreements are what is not in order: the map's primary must be active and
// writable and follow nobody, the other server must follow it, closely and
// read-only, with the same row, nothing may be open in the journal, and no hold
// may be left.
func (w *world) disagreements() (problems []string, err error) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	ctx := w.t.Context()
	snap, err := w.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	if holds := snap.Holds(); len(holds) != 0 {
		say("the map holds %v", holds)
	}
	home, _ := snap.Shard(alpha)
	primary, replica := w.sides[home.Datacenter], w.sides[other(home.Datacenter)]
	position, err := value(ctx, primary.root, "SELECT @@GLOBAL.gtid_binlog_pos")
	if err != nil {
		return nil, err
	}
	status, err := w.replicaStatus(replica)
	if err != nil {
		return nil, err
	}
	if failure := status.failure(); failure != "" {
		say("replica: %s", failure)
	} else if waited, err := value(ctx, replica.root, "SELECT MASTER_GTID_WAIT('"+position+"', 8)"); err != nil {
		return nil, err
	} else if waited != "0" {
		say("replica: it has not caught up")
	}
	if id := status["Master_Server_Id"]; len(status) != 0 && id != fmt.Sprint(primary.server.ServerID()) {
		say("replica: it follows server %s", id)
	}
	if status, err := primary.status(ctx); err != nil {
		return nil, err
	} else if len(status) != 0 {
		say("primary: it is a replica itself")
	}
	want := fmt.Sprintf("active %d %d []", home.Epoch, primary.server.ServerID())
	for s, readOnly := range map[*side]string{primary: "0", replica: "1"} {
		row, err := value(ctx, s.root, "SELECT CONCAT_WS(' ', state, epoch, server_id, CONCAT('[', move_id, ']')) FROM app.drover_fence WHERE bucket = -1")
		if err != nil {
			return nil, err
		}
		if row != want {
			say("%s: the shard's row is %s, want %s", s.dc, row, want)
		}
		if v, err := value(ctx, s.root, "SELECT @@GLOBAL.read_only"); err != nil {
			return nil, err
		} else if v != readOnly {
			say("%s: read_only is %s", s.dc, v)
		}
		all, err := s.promotions(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range all {
			if p.open {
				say("%s: %s is open, and %s", s.dc, p.id, p.state)
			}
		}
	}
	return problems, nil
}

// finding is the part of the doctor's that says what to do.
type finding struct {
	Kind   string   `json:"kind"`
	Mend   []string `json:"mend"`
	Decide string   `json:"decide"`
	SQL    []struct {
		Server    string `json:"server"`
		Statement string `json:"statement"`
	} `json:"sql"`
}

// obeyMax bounds how often the doctor is asked and obeyed.
const obeyMax = 3

// settle makes everything agree: by itself, as it should be, or by doing what
// migrator doctor says. It returns the kinds of findings that were obeyed.
func (w *world) settle() (obeyed []string) {
	w.t.Helper()
	for range obeyMax {
		problems, err := w.disagreements()
		must(w.t, err)
		if len(problems) == 0 {
			return obeyed
		}
		w.t.Logf("not in order: %s", strings.Join(problems, "; "))
		did := w.obey()
		if len(did) == 0 {
			break
		}
		obeyed = append(obeyed, did...)
		if w.newest().open {
			if err := w.migrator("resume"); err != nil {
				w.t.Logf("resume, as the doctor was obeyed: %v", err)
			}
		}
	}
	problems, err := w.disagreements()
	must(w.t, err)
	for _, p := range problems {
		w.t.Errorf("migrator doctor does not lead out of this: %s", p)
	}
	return obeyed
}

// obey does what migrator doctor says.
func (w *world) obey() (kinds []string) {
	w.t.Helper()
	child := w.start("", "doctor", "-o", "json")
	_ = child.Wait() // findings are an error, too
	output := child.Output()
	var report struct {
		Findings []finding `json:"findings"`
	}
	if err := json.NewDecoder(strings.NewReader(output[max(0, strings.Index(output, "{")):])).Decode(&report); err != nil {
		w.t.Fatalf("migrator doctor: %v\n%s", err, output)
	}
	for _, f := range report.Findings {
		kinds = append(kinds, f.Kind)
		for _, command := range f.Mend {
			w.say(command)
		}
		if len(f.Mend) != 0 {
			continue
		}
		// What a person decides here is what the doctor says, word for word.
		if finish := finishing.FindString(f.Decide); finish != "" {
			w.say(finish)
		}
		for _, s := range f.SQL {
			w.execute(s.Server, s.Statement)
		}
		if replicate := replicating.FindString(f.Decide); replicate != "" {
			w.say(replicate)
		}
	}
	return kinds
}

// The commands that the doctor has among its words for a person.
var (
	finishing   = regexp.MustCompile(`migrator shard finish \w+`)
	replicating = regexp.MustCompile(`migrator shard replicate \w+ --to \w+`)
)

// say runs a command of the migrator that the doctor named.
func (w *world) say(command string) {
	w.t.Helper()
	words := strings.Fields(command)
	if len(words) < 2 || words[0] != "migrator" {
		w.t.Errorf("migrator doctor says %q", command)
		return
	}
	if err := w.migrator(words[1:]...); err != nil {
		w.t.Logf("%s: %v", command, err)
	}
}

// execute executes a statement on the server that the doctor named.
func (w *world) execute(name, statement string) {
	w.t.Helper()
	statements := []string{statement}
	if strings.Contains(statement, "drover_") {
		statements = []string{"USE app", statement}
	}
	for dc, s := range w.sides {
		if strings.Contains(name, string(alpha)+"@"+string(dc)) {
			must(w.t, s.server.Exec(w.t.Context(), statements...))
		}
	}
}

// rows reads what a server has of this case's writes.
func (c *crowd) rows(s *side) (*book.Rows, map[uint64]bool) {
	c.w.t.Helper()
	r := &book.Rows{Entries: map[string][]book.ID{}, Last: map[string]book.ID{}, Writes: map[string]int{}, Tally: map[string]int{}}
	plain := map[uint64]bool{}
	prefix := fmt.Sprintf("run-%d-user-", c.run)
	for _, q := range []struct {
		query string
		note  func(user string, a, b uint64)
	}{
		{"SELECT user_id, id, 0 FROM app.entry WHERE user_id LIKE '" + prefix + "%' ORDER BY user_id, id", func(user string, id, _ uint64) {
			r.Entries[user] = append(r.Entries[user], book.ID(id))
		}},
		{"SELECT user_id, value, writes FROM app.register WHERE user_id LIKE '" + prefix + "%'", func(user string, value, writes uint64) {
			r.Last[user], r.Writes[user] = book.ID(value), int(writes)
		}},
		{"SELECT user_id, writes, 0 FROM app.tally WHERE user_id LIKE '" + prefix + "%'", func(user string, writes, _ uint64) { r.Tally[user] = int(writes) }},
		{fmt.Sprintf("SELECT '', id, 0 FROM app.plain WHERE run = %d", c.run), func(_ string, id, _ uint64) { plain[id] = true }},
	} {
		must(c.w.t, book.Each(c.w.t.Context(), s.root, q.query, q.note))
	}
	return r, plain
}

// audit stops the clients and compares what they were told with the rows of
// both servers. The servers must agree.
func (c *crowd) audit() (lost, duplicated int) {
	t := c.w.t
	t.Helper()
	c.stop()
	c.done.Wait()
	home := c.w.home()
	primary, replica := c.w.sides[home.Datacenter], c.w.sides[other(home.Datacenter)]
	c.w.caughtUp(primary, replica)
	there, plain := c.rows(primary)
	copied, plainCopied := c.rows(replica)
	if fmt.Sprint(there, plain) != fmt.Sprint(copied, plainCopied) {
		t.Error("the replica has other rows than the primary")
	}
	verdict := c.book.Audit(map[bucketmap.ShardName]*book.Rows{alpha: there}, func(string) bucketmap.ShardName { return alpha }, func(string) bool { return false })
	findings := append(verdict.Findings(), judge(c.writes)...)
	lost, duplicated = len(verdict.Lost), len(verdict.Duplicated)
	for _, id := range slices.Sorted(maps.Keys(c.plain)) {
		switch outcome := book.Outcome(c.plain[id]); {
		case outcome == book.Acknowledged && !plain[id]:
			lost++
			findings = append(findings, fmt.Sprintf("lost: write %d to the table without a fence", id))
		case outcome == book.Refused && plain[id]:
			duplicated++
			findings = append(findings, fmt.Sprintf("duplicated: write %d to the table without a fence was refused and is there", id))
		}
	}
	const findingsMax = 10
	for _, f := range findings[:min(len(findings), findingsMax)] {
		t.Error(f)
	}
	if len(findings) > findingsMax {
		t.Errorf("and %d more", len(findings)-findingsMax)
	}
	return lost, duplicated
}
