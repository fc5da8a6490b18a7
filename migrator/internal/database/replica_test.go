package database

import (
	"slices"
	"strings"
	"testing"
)

func TestErrantIsWhatTheOtherServerDoesNotHave(t *testing.T) {
	for _, c := range []struct{ replica, primary, want string }{
		{"", "", ""},
		{"0-1-10", "0-1-10", ""},
		{"0-1-10", "0-1-12,0-2-3", ""},
		{"0-1-10,0-2-11", "0-1-12", "0-2-11"},         // its own, unknown to the primary
		{"0-1-13", "0-1-12", "0-1-13"},                // the primary has lost it
		{"0-1-12,0-2-9", "0-1-12,0-2-8", "0-2-9"},     // it was primary, and wrote again as a replica
		{"0-1-12,7-2-1", "0-1-12", "7-2-1"},           // in a domain of its own
		{"0-1-12, 0-2-8", "0-1-12,0-2-8,0-3-100", ""}, // spaces are allowed
	} {
		replica, err := ParseHistory(c.replica)
		if err != nil {
			t.Fatal(err)
		}
		primary, err := ParseHistory(c.primary)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range replica.Errant(primary) {
			got = append(got, g.String())
		}
		if strings.Join(got, ",") != c.want {
			t.Errorf("%q against %q: %v, want %q", c.replica, c.primary, got, c.want)
		}
	}
	if _, err := ParseHistory("0-1"); err == nil {
		t.Error("0-1 was accepted")
	}
}

func TestUpstreamIsReadFromTheStatus(t *testing.T) {
	u, err := parseUpstream(map[string]string{
		"Connection_name": "", "Master_Host": "10.0.0.1", "Master_Port": "3306", "Master_Server_Id": "7", "Connect_Retry": "60",
		"Slave_IO_Running": "Connecting", "Slave_SQL_Running": "Yes", "Last_IO_Error": "error connecting", "Using_Gtid": "Slave_Pos",
		"Gtid_IO_Pos": "0-1-5", "Replicate_Ignore_DB": "logs", "SQL_Delay": "0", "Master_SSL_Allowed": "Yes",
	})
	if err != nil {
		t.Fatal(err)
	}
	if u.Host != "10.0.0.1" || u.Port != 3306 || u.ServerID != 7 || !u.GTID || !u.TLS || u.TLSVerify || u.RetrySeconds != 60 ||
		u.Received.String() != "0-1-5" || !slices.Equal(u.Filters, []string{"Replicate_Ignore_DB=logs"}) {
		t.Errorf("%+v", u)
	}
	if got := u.Failure(); got != "it does not receive: error connecting" {
		t.Errorf("failure %q", got)
	}
}
