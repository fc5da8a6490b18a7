package fence

import (
	"fmt"
	"strconv"
	"strings"

	"drover/bucketmap"
)

// State is what a fence row says of its bucket, or of its shard.
type State string

// The states. Writes commit in Active alone; reads are right in Active and
// Frozen.
const (
	Active   State = "active"   // its home is here
	Frozen   State = "frozen"   // its home is here, and nobody may write
	Moved    State = "moved"    // its home was here
	Incoming State = "incoming" // its rows are being copied here
)

// Readable says whether rows of a bucket in this state are the newest.
func (s State) Readable() bool { return s == Active || s == Frozen }

// ShardRow is the value of the bucket column in the row of the whole shard.
const ShardRow = -1

// Table is the name of the fence's table.
const Table = "drover_fence"

// Row is one row of the fence.
type Row struct {
	// Bucket is a bucket, or ShardRow.
	Bucket int64
	State  State
	Epoch  bucketmap.Epoch
	Token  Token // of the move that has the row, empty when none has
	// ServerID is, in the shard's row, the server_id of the primary.
	ServerID uint32
}

// Token says who may change a row: a move and which run of it, counted up
// each time that a migrator takes the move over. Only the newest run's token
// matches, so a run that was replaced changes nothing.
type Token struct {
	Move bucketmap.MoveID
	Run  uint32
}

// String gives the form in the column move_id, "" for no token.
func (t Token) String() string {
	if t.Move == "" {
		return ""
	}
	return string(t.Move) + "/" + strconv.FormatUint(uint64(t.Run), 10)
}

// ParseToken reads what Token.String wrote.
func ParseToken(s string) (Token, error) {
	if s == "" {
		return Token{}, nil
	}
	move, run, ok := strings.Cut(s, "/")
	n, err := strconv.ParseUint(run, 10, 32)
	if !ok || move == "" || err != nil {
		return Token{}, fmt.Errorf("fence: move_id %q is not MOVE/RUN", s)
	}
	return Token{Move: bucketmap.MoveID(move), Run: uint32(n)}, nil
}
