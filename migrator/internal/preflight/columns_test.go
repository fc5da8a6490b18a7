package preflight

import "testing"

func TestUUIDsAreReadFromServersOfAKnownOrderAlone(t *testing.T) {
	for version, want := range map[string]bool{
		"10.7.3-MariaDB": false, "10.10.5-MariaDB": false, "10.10.6-MariaDB": true, "10.11.4-MariaDB-log": false,
		"10.11.5-MariaDB": true, "10.11.19-MariaDB-0+deb12u1-log": true, "11.0.2-MariaDB": false, "11.0.3-MariaDB": true,
		"11.1.1-MariaDB": false, "11.1.2-MariaDB": true, "11.2.1-MariaDB": true, "11.8.3-MariaDB": true, "12.0.1-MariaDB": true, "odd": false,
	} {
		if got := uuidOrder(version); got != want {
			t.Errorf("%s: %t, want %t", version, got, want)
		}
	}
}
