package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Upstream is the primary that a replica follows, as the replica tells of it.
type Upstream struct {
	Connection string // the replica's name for it, usually ""
	Link
	ServerID uint32 // 0 until the replica was connected once
	// GTID says that the replica asks by global transaction id.
	GTID bool
	// Receives and Applies say that the two threads run; the errors, why they
	// do not.
	Receives, Applies        bool
	ReceiveError, ApplyError string
	Received                 Transactions // what has come over, applied or not
	Filters                  []string     // what the replica leaves out, as VARIABLE=value
	DelaySeconds             int          // that it keeps on purpose
	BehindSeconds            sql.NullInt64
}

// Link is how a replica connects to its primary.
type Link struct {
	Host         string `json:"host,omitempty"`
	Port         uint16 `json:"port,omitempty"`
	TLS          bool   `json:"tls,omitempty"`
	TLSVerify    bool   `json:"tls_verify,omitempty"`
	RetrySeconds int    `json:"retry_seconds,omitempty"`
}

// filterColumns are the columns of the status that leave data out; both families
// have some of them.
var filterColumns = []string{
	"Replicate_Do_DB", "Replicate_Ignore_DB", "Replicate_Do_Table", "Replicate_Ignore_Table",
	"Replicate_Wild_Do_Table", "Replicate_Wild_Ignore_Table", "Replicate_Ignore_Server_Ids",
	"Replicate_Do_Domain_Ids", "Replicate_Ignore_Domain_Ids", "Replicate_Rewrite_DB",
}

// Upstreams returns the primaries that the server is set up to follow; none for
// a server that is no replica.
func (s *Server) Upstreams(ctx context.Context) ([]Upstream, error) {
	wrap := func(err error) error { return fmt.Errorf("database %s: replication status: %w", s.Name(), err) }
	d, err := s.Dialect(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.DB.QueryContext(ctx, d.Upstreams)
	if err != nil {
		return nil, wrap(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, wrap(err)
	}
	values, targets := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		targets[i] = &values[i]
	}
	var all []Upstream
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return nil, wrap(err)
		}
		row := make(map[string]string, len(names))
		for i, name := range names {
			row[name] = values[i].String
		}
		u, err := parseUpstream(row)
		if err != nil {
			return nil, wrap(err)
		}
		all = append(all, u)
	}
	if err := rows.Err(); err != nil {
		return nil, wrap(err)
	}
	return all, nil
}

// parseUpstream reads a row of the status, of MariaDB's SHOW ALL SLAVES STATUS
// or of MySQL's SHOW REPLICA STATUS: the one's column is named where the other's
// is not there.
func parseUpstream(row map[string]string) (Upstream, error) {
	column := func(mariadb, mysql string) string {
		if v, ok := row[mariadb]; ok {
			return v
		}
		return row[mysql]
	}
	u := Upstream{
		Connection: column("Connection_name", "Channel_Name"),
		Link: Link{Host: column("Master_Host", "Source_Host"), TLS: column("Master_SSL_Allowed", "Source_SSL_Allowed") == "Yes",
			TLSVerify: column("Master_SSL_Verify_Server_Cert", "Source_SSL_Verify_Server_Cert") == "Yes"},
		GTID:         row["Using_Gtid"] == "Slave_Pos" || row["Using_Gtid"] == "Current_Pos" || row["Auto_Position"] == "1",
		Receives:     column("Slave_IO_Running", "Replica_IO_Running") == "Yes",
		Applies:      column("Slave_SQL_Running", "Replica_SQL_Running") == "Yes",
		ReceiveError: row["Last_IO_Error"],
		ApplyError:   row["Last_SQL_Error"],
	}
	number := func(text string, bits int) uint64 {
		n, err := strconv.ParseUint(text, 10, bits)
		if err != nil {
			return 0 // NULL, or a column that this version does not have
		}
		return n
	}
	u.Port = uint16(number(column("Master_Port", "Source_Port"), 16))
	u.ServerID = uint32(number(column("Master_Server_Id", "Source_Server_Id"), 32))
	u.RetrySeconds = int(number(row["Connect_Retry"], 31))
	u.DelaySeconds = int(number(row["SQL_Delay"], 31))
	if behind := column("Seconds_Behind_Master", "Seconds_Behind_Source"); behind != "" {
		u.BehindSeconds = sql.NullInt64{Int64: int64(number(behind, 63)), Valid: true}
	}
	for _, column := range filterColumns {
		if v := row[column]; v != "" {
			u.Filters = append(u.Filters, column+"="+v)
		}
	}
	received, err := ParseTransactions(column("Gtid_IO_Pos", "Retrieved_Gtid_Set"))
	if err != nil {
		return Upstream{}, err
	}
	// Of MySQL it is what came over since the relay logs were begun.
	executed, err := ParseTransactions(row["Executed_Gtid_Set"])
	u.Received = received.With(executed)
	return u, err
}

// Failure says in words why the replica does not replicate, or "" if it does.
func (u Upstream) Failure() string {
	var words []string
	if !u.Receives {
		words = append(words, "it does not receive: "+orStopped(u.ReceiveError))
	}
	if !u.Applies {
		words = append(words, "it does not apply: "+orStopped(u.ApplyError))
	}
	return strings.Join(words, "; ")
}

func orStopped(reason string) string {
	if reason == "" {
		return "stopped or connecting"
	}
	return reason
}

// StopReplica ends both threads of a connection.
func (s *Server) StopReplica(ctx context.Context, connection string) error {
	return s.replicaStatement(ctx, func(d Dialect) string { return d.Stop }, connection)
}

// StartReplica starts both threads of a connection. It does not wait until they
// are connected.
func (s *Server) StartReplica(ctx context.Context, connection string) error {
	return s.replicaStatement(ctx, func(d Dialect) string { return d.Start }, connection)
}

// ForgetUpstream makes a stopped replica no replica any more. What it has
// applied stays known: ReplicaPosition.
func (s *Server) ForgetUpstream(ctx context.Context, connection string) error {
	return s.replicaStatement(ctx, func(d Dialect) string { return d.Forget }, connection)
}

// SetReplicaPosition says from where the server, which must not be replicating,
// will ask its next upstream.
func (s *Server) SetReplicaPosition(ctx context.Context, p Position) error {
	return s.replicaStatement(ctx, func(d Dialect) string { return d.SetReplicated }, p.String())
}

func (s *Server) replicaStatement(ctx context.Context, of func(Dialect) string, args ...any) error {
	d, err := s.Dialect(ctx)
	if err != nil {
		return err
	}
	statement := of(d)
	if statement == "" {
		return fmt.Errorf("database %s: %s has no such statement", s.Name(), d.Family())
	}
	if _, err := s.DB.ExecContext(ctx, statement, args...); err != nil {
		return fmt.Errorf("database %s: %s: %w", s.Name(), statement, err)
	}
	return nil
}

// Follow sets the server up to follow an upstream by GTID on the default
// connection. It does not start it.
func (s *Server) Follow(ctx context.Context, link Link, account Account) error {
	d, err := s.Dialect(ctx)
	if err != nil {
		return err
	}
	statement, args := d.FollowStatement(link, account)
	if _, err := s.DB.ExecContext(ctx, statement, args...); err != nil {
		return fmt.Errorf("database %s: follow %s:%d: %w", s.Name(), link.Host, link.Port, err)
	}
	return nil
}

// ReplicaPosition returns the last transaction of each domain that the server
// has applied as a replica. What it wrote by itself does not count, so that an
// errant transaction cannot pass for progress.
func (s *Server) ReplicaPosition(ctx context.Context) (Position, error) {
	return s.position(ctx, "gtid_slave_pos")
}

// WaitApplied is Await for a position of MariaDB.
func (s *Server) WaitApplied(ctx context.Context, p Position, limit time.Duration) (bool, error) {
	return s.Await(ctx, Transactions{position: p}, limit)
}

// History is the last transaction that a server's binlog has of each domain and
// each server that wrote in it. It says more than a Position: what a replica
// wrote by itself stands in it under its own server id.
type History map[[2]uint32]uint64

// ParseHistory reads @@gtid_binlog_state.
func ParseHistory(text string) (History, error) {
	h := History{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		g, err := ParseGTID(part)
		if err != nil {
			return nil, err
		}
		key := [2]uint32{g.Domain, g.Server}
		h[key] = max(h[key], g.Sequence)
	}
	return h, nil
}

// Errant returns what h has and o does not, the last of each domain and server.
func (h History) Errant(o History) []GTID {
	var errant []GTID
	for key, sequence := range h {
		if o[key] < sequence {
			errant = append(errant, GTID{key[0], key[1], sequence})
		}
	}
	return errant
}

// BinlogHistory returns the server's history.
func (s *Server) BinlogHistory(ctx context.Context) (History, error) {
	v, err := s.Variable(ctx, "gtid_binlog_state")
	if err != nil {
		return nil, err
	}
	h, err := ParseHistory(v)
	if err != nil {
		return nil, fmt.Errorf("database %s: @@gtid_binlog_state: %w", s.Name(), err)
	}
	return h, nil
}

// ServerID returns the server's server_id.
func (s *Server) ServerID(ctx context.Context) (uint32, error) {
	v, err := s.Variable(ctx, "server_id")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("database %s: @@server_id: %w", s.Name(), err)
	}
	return uint32(n), nil
}

// ErrNoReplica is returned by OneUpstream for a server that follows nobody.
var ErrNoReplica = errors.New("the server is no replica")

// OneUpstream returns the only primary that the server follows. More than one
// is an error: which of them is meant cannot be known.
func (s *Server) OneUpstream(ctx context.Context) (Upstream, error) {
	all, err := s.Upstreams(ctx)
	if err != nil {
		return Upstream{}, err
	}
	switch len(all) {
	case 0:
		return Upstream{}, fmt.Errorf("database %s: %w", s.Name(), ErrNoReplica)
	case 1:
		return all[0], nil
	default:
		return Upstream{}, fmt.Errorf("database %s: it follows %d primaries: want one", s.Name(), len(all))
	}
}
