package testservers

import (
	"bufio"
	"net"
	"strings"
	"testing"
)

func TestMemcachedComesBackEmptyAfterAKill(t *testing.T) {
	t.Parallel()
	server, err := Start(t).Memcached(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	if answer := ask(t, server, "set k 0 0 1\r\nv\r\n"); answer != "STORED" {
		t.Fatalf("set: %s", answer)
	}
	if answer := ask(t, server, "get k\r\n"); !strings.HasPrefix(answer, "VALUE k") {
		t.Fatalf("get: %s", answer)
	}
	addr := server.Addr()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if server.Addr() != addr {
		t.Errorf("at %s, was at %s", server.Addr(), addr)
	}
	if answer := ask(t, server, "get k\r\n"); answer != "END" {
		t.Errorf("get: %s", answer)
	}
}

// ask returns the first line of the answer.
func ask(t *testing.T, server *Memcached, command string) string {
	t.Helper()
	connection, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.Write([]byte(command)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}
