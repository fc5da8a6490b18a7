package promote

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"drover/migrator/internal/database"
	"drover/shardlib/fence"
)

// listed is what a promotion does by a server's version, server by server.
func listed(t *testing.T, version string) []string {
	d, _ := database.DialectOf(version)
	e := &Engine{Limits: DefaultLimits(), Replication: database.Account{User: "replica", Password: "secret"}}
	s := &script{Engine: e, dialect: d, from: "old", to: "new", token: fence.Token{Move: wordMove, Run: 1},
		detail: Detail{Shard: alpha, Source: legacy, Target: cloud, Epoch: 1}}
	s.before(t.Context())
	s.after(t.Context(), 102, "", database.Link{Host: "10.2.0.6", Port: 3306, TLS: true, RetrySeconds: 60})
	var all []string
	for _, o := range s.all {
		if strings.HasPrefix(o.Do, "journal: ") || o.Server == "map" {
			continue
		}
		all = append(all, o.Server+": "+o.Do)
	}
	return all
}

// update is one change of the shard's row.
func update(server, bound, from, fromToken, to, toToken string, epoch int, more string) string {
	return fmt.Sprintf("%s: %sUPDATE drover_fence FORCE INDEX (PRIMARY) SET state = '%s', move_id = '%s', epoch = epoch + %d%s WHERE bucket IN (-1) AND state = '%s' AND move_id = '%s'",
		server, bound, to, toToken, epoch, more, from, fromToken)
}

func TestEveryStatementOfAPromotionIsTheServersOwn(t *testing.T) {
	const token, mine = wordMove + "/1", "SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1"
	bound := "SET STATEMENT max_statement_time=0.015 FOR "
	mariadb := []string{
		update("old", bound, "active", "", "active", token, 0, ""),
		"new: SELECT MASTER_GTID_WAIT(@@gtid_binlog_pos of the primary, 0.030), until it is in time",
		"old: " + mine,
		update("old", bound, "active", token, "frozen", token, 0, ""),
		"old: " + mine + ", max_statement_time = 0.250",
		"old: SET GLOBAL read_only = 1",
		"new: SELECT MASTER_GTID_WAIT(@@gtid_binlog_pos of the primary, …), within 1s since the freeze",
		"old: " + mine,
		update("old", "", "frozen", token, "moved", token, 0, ""),
		"new: SELECT MASTER_GTID_WAIT(@@gtid_binlog_pos of the old primary, …)",
		"new: STOP SLAVE ''",
		"new: RESET SLAVE '' ALL",
		"new: " + mine,
		update("new", "", "moved", token, "active", token, 1, ", server_id = 102"),
		"new: " + mine + ", max_statement_time = 0.250",
		"new: SET GLOBAL read_only = 0",
		"old: SET GLOBAL gtid_slave_pos = '…'",
		"old: CHANGE MASTER TO MASTER_HOST='10.2.0.6', MASTER_PORT=3306, MASTER_USER='replica', MASTER_PASSWORD='…', MASTER_CONNECT_RETRY=60, " +
			"MASTER_SSL=1, MASTER_SSL_VERIFY_SERVER_CERT=0, MASTER_USE_GTID=slave_pos",
		"old: START SLAVE ''",
		update("new", bound, "active", token, "active", "", 0, ""),
	}
	ended := func(server string, d time.Duration) string {
		return fmt.Sprintf("%s: KILL QUERY …, if that takes longer than %s", server, d)
	}
	mysql := []string{
		update("old", "", "active", "", "active", token, 0, ""),
		ended("old", 15*time.Millisecond),
		"new: SELECT WAIT_FOR_EXECUTED_GTID_SET(@@gtid_executed of the primary, 0.030), until it is in time",
		"old: " + mine,
		update("old", "", "active", token, "frozen", token, 0, ""),
		ended("old", 15*time.Millisecond),
		"old: " + mine,
		"old: SET GLOBAL read_only = 1", // the commit point is written past it: not super_read_only
		ended("old", 250*time.Millisecond),
		"new: SELECT WAIT_FOR_EXECUTED_GTID_SET(@@gtid_executed of the primary, …), within 1s since the freeze",
		"old: " + mine,
		update("old", "", "frozen", token, "moved", token, 0, ""),
		"new: SELECT WAIT_FOR_EXECUTED_GTID_SET(@@gtid_executed of the old primary, …)",
		"new: STOP REPLICA FOR CHANNEL ''",
		"new: RESET REPLICA ALL FOR CHANNEL ''",
		"new: SET GLOBAL super_read_only = 0", // and read_only stays
		"new: " + mine,
		update("new", "", "moved", token, "active", token, 1, ", server_id = 102"),
		"new: " + mine,
		"new: SET GLOBAL read_only = 0",
		ended("new", 250*time.Millisecond),
		"old: SET GLOBAL super_read_only = 1",
		"old: CHANGE REPLICATION SOURCE TO SOURCE_HOST='10.2.0.6', SOURCE_PORT=3306, SOURCE_USER='replica', SOURCE_PASSWORD='…', SOURCE_CONNECT_RETRY=60, " +
			"SOURCE_SSL=1, SOURCE_SSL_VERIFY_SERVER_CERT=0, GET_SOURCE_PUBLIC_KEY=0, SOURCE_AUTO_POSITION=1 FOR CHANNEL ''",
		"old: START REPLICA FOR CHANNEL ''",
		update("new", "", "active", token, "active", "", 0, ""),
		ended("new", 15*time.Millisecond),
	}
	for version, want := range map[string][]string{"10.11.6-MariaDB-log": mariadb, "8.0.36": mysql, "8.4.3": mysql, "8.0.26-17-percona": mysql} {
		if got := listed(t, version); !slices.Equal(got, want) {
			t.Errorf("%s: it does\n  %s\nwant\n  %s", version, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
	}
}

func TestWhatPassesReadOnlyIsFollowedThroughRoles(t *testing.T) {
	at := func(user string) privileged { return privileged{user: user, host: "%"} }
	own := []privileged{{user: "inner", host: "%", privilege: "CONNECTION_ADMIN"}}
	edges := []edge{{at("outer"), at("job")}, {at("inner"), at("outer")}, {at("other"), at("clerk")}, {at("job"), at("inner")}} // a circle, too
	var names []string
	for _, p := range byEdges(own, edges) {
		names = append(names, p.user+" by "+p.role)
	}
	slices.Sort(names)
	if want := []string{"job by outer", "outer by inner"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}
