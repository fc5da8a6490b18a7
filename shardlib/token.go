package shardlib

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"drover/bucketmap"
)

// A token says what a user has written, for a read in another process:
//
//	"1." hash of the user "." epoch of the bucket "." GTIDs, with "_" between them
//
// It is fit for a cookie, a header and a URL. It is no secret and not signed: one
// that somebody made up makes that user's own reads slower or older.

// tokenBytesMax bounds a token: 2 + 32 + 1 + 20 + 1 and 16 GTIDs of 43 bytes
// are 744.
const tokenBytesMax = 1 << 10

const (
	tokenVersion   = "1"
	tokenSeparator = "_" // a comma may not be in a cookie
)

func formatToken(user bucketmap.UserID, e evidence) string {
	key := keyOf(user)
	return strings.Join([]string{tokenVersion, hex.EncodeToString(key[:]), strconv.FormatUint(uint64(e.epoch), 10),
		e.position.text(tokenSeparator)}, ".")
}

var errToken = errors.New("not a token of this user")

// parseToken accepts only what formatToken wrote for the user.
func parseToken(user bucketmap.UserID, token string) (evidence, error) {
	parts := strings.Split(token, ".")
	if len(token) > tokenBytesMax || len(parts) != 4 {
		return evidence{}, errToken
	}
	epoch, err := strconv.ParseUint(parts[2], 10, 64)
	if err != nil {
		return evidence{}, errToken
	}
	p, err := parsePosition(parts[3], tokenSeparator)
	if err != nil {
		return evidence{}, errToken
	}
	e := evidence{epoch: bucketmap.Epoch(epoch), position: p}
	if formatToken(user, e) != token {
		return evidence{}, errToken
	}
	return e, nil
}

// Token returns a token of all that the previous one says and of all of the
// user's writes through this process. It costs no round trip. It is for the
// answer to a request that wrote, and previous is the token that came with the
// request.
//
// It is empty when it cannot say: without a previous token, for who knows what
// other processes wrote; with one of another user; after a write whose position
// is not known (its COMMIT was not answered, or the server is not MariaDB); and
// without Config.Replicas.Enabled. TokenNow can say then. An empty token is safe
// to give out: reads with it are of the primary.
//
// A client that has several requests under way must not put an older token in
// the place of a newer one: let only answers to writes carry it, and where a
// user's writes overlap, keep the token beside the session on the server and
// give it to Token as previous.
func (l *Library) Token(user bucketmap.UserID, previous string) string {
	if !l.config.Replicas.Enabled {
		return ""
	}
	e, err := parseToken(user, previous)
	if err != nil {
		return ""
	}
	home, err := l.Home(user)
	if err != nil {
		return ""
	}
	if known := l.writes.known(user, home); len(known.position) != 0 || !known.after.IsZero() {
		e = e.and(known)
	}
	if !e.after.IsZero() {
		return ""
	}
	return formatToken(user, e)
}

// TokenNow asks the user's primary, wherever it is, and returns a token of all
// that was committed there when it was called, by whomever. It costs what a View
// does. A chain of tokens begins with it: at a login, at the first request of a
// session, after a write that did not go through a Library. The errors are those
// of View.
func (l *Library) TokenNow(ctx context.Context, user bucketmap.UserID) (string, error) {
	asked := time.Now()
	var e evidence
	var shard bucketmap.ShardName
	err := l.View(ctx, user, func(ctx context.Context, tx *Tx) error {
		var logs bool
		var text string
		// After the look at the fence: the bucket was here then, and what it had is
		// in the position that is read now.
		if err := tx.QueryRowContext(ctx, "SELECT @@log_bin, @@gtid_binlog_pos").Scan(&logs, &text); err != nil {
			return fmt.Errorf("shardlib: token: the primary's position: %w", err)
		}
		p, err := parsePosition(text, ",")
		if err != nil {
			return fmt.Errorf("shardlib: token: %w", err)
		}
		if !logs || len(p) == 0 {
			return fmt.Errorf("shardlib: token: shard %s: %w; set log_bin", tx.home.Shard, errNoPosition)
		}
		e, shard = evidence{epoch: tx.seen.Epoch, position: p}, tx.home.Shard
		return nil
	})
	if err != nil {
		return "", err
	}
	l.writes.learn(user, shard, asked, e)
	return formatToken(user, e), nil
}
