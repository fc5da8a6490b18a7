// Package testservers runs real MariaDB, memcached and Consul servers on
// loopback, as many as wanted, for tests and for the demo.
//
// A fleet is a folder with servers in it. It lives by these steps:
//
//  1. Binaries are found on PATH, installed with apt, or unpacked from packages
//     into the cache folder by whoever may not install (see Install). Consul,
//     which has no package, is built from tools/consul into the cache folder
//     when it is first needed, if it is not on PATH.
//  2. A template data folder is made once for each MariaDB version, with the
//     accounts in it and no binary log, and kept in the cache folder.
//  3. The fleet's folder is made and locked, and a watchdog started: a shell
//     that reads from a pipe whose other end this process holds.
//  4. Each server starts from a copy of the template, in a session of its own.
//     Its pid is recorded in the fleet's folder before it is executed.
//  5. Close ends the servers and removes the folder. If the process dies
//     without Close, by whatever signal, the pipe closes and the watchdog does
//     the same; if the watchdog was killed too, the next New or Sweep finds the
//     folder's lock free and does it then.
//
// It never listens on anything but 127.0.0.1, never reads the machine's own
// my.cnf, never touches a server that it did not start, and leaves nothing
// behind but the cache folder.
//
// Settings come from the environment:
//
//	DROVER_CACHE               the cache folder (default: the user's, then a temporary one)
//	DROVER_TESTSERVERS_SOURCE  path, apt or unpack: where binaries may come from
//	                           (default: path, then apt for root or unpack for others)
//
// All methods of Fleet may be called concurrently. Those of one server may too,
// but Kill, Stop, Pause, Resume and Restart of one server wait for one another.
package testservers
