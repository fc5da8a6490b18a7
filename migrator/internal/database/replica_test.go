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

// The rows are the manual's examples, 15.7.7.35 of 8.4, with the channel and the
// sets of a server that follows by GTID.
func TestUpstreamIsReadFromTheStatusOfMySQL(t *testing.T) {
	const own, source = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4350f323-7565-4e59-8763-4b1b83a0ce0e"
	row := map[string]string{
		"Replica_IO_State": "Waiting for source to send event", "Source_Host": "127.0.0.1", "Source_User": "root", "Source_Port": "13000",
		"Connect_Retry": "1", "Source_Log_File": "master-bin.000001", "Read_Source_Log_Pos": "927", "Replica_IO_Running": "Yes",
		"Replica_SQL_Running": "Yes", "Replicate_Do_DB": "", "Replicate_Rewrite_DB": "", "Last_Errno": "0", "Last_Error": "",
		"Source_SSL_Allowed": "No", "Seconds_Behind_Source": "0", "Source_SSL_Verify_Server_Cert": "No", "Last_IO_Errno": "0",
		"Last_IO_Error": "", "Last_SQL_Errno": "0", "Last_SQL_Error": "", "Source_Server_Id": "1", "Source_UUID": source, "SQL_Delay": "0",
		"Retrieved_Gtid_Set": source + ":3-6", "Executed_Gtid_Set": own + ":1,\n" + source + ":1-5", "Auto_Position": "1",
		"Channel_Name": "", "Get_Source_public_key": "0",
	}
	u, err := parseUpstream(row)
	if err != nil {
		t.Fatal(err)
	}
	if u.Host != "127.0.0.1" || u.Port != 13000 || u.ServerID != 1 || !u.GTID || u.TLS || !u.BehindSeconds.Valid || u.Failure() != "" ||
		u.Received.String() != own+":1,"+source+":1-6" || len(u.Filters) != 0 {
		t.Errorf("%+v", u)
	}
	row["Replica_IO_Running"], row["Last_IO_Error"], row["Auto_Position"], row["Seconds_Behind_Source"] = "Connecting", "error connecting", "0", ""
	row["Replicate_Ignore_DB"], row["Channel_Name"] = "logs", "east"
	if u, err = parseUpstream(row); err != nil || u.GTID || u.BehindSeconds.Valid || u.Connection != "east" || len(u.Filters) != 1 ||
		u.Failure() != "it does not receive: error connecting" {
		t.Errorf("%+v, %v", u, err)
	}
	row["Retrieved_Gtid_Set"] = "not a set:1-"
	if _, err = parseUpstream(row); err == nil {
		t.Error("a set that is none was read")
	}
}
