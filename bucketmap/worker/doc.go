// Package worker exports a map as a Worker: an edge that runs on Cloudflare
// Workers, or anywhere under workerd, and decides as the proxy does.
//
// Export writes a folder:
//
//	worker.mjs, identity.mjs, map.mjs  the code, the same for every map
//	map.bin                            the map, as the code reads it (layout.go)
//	config.json                        upstreams, identity, retries, and map.bin's tag
//	wrangler.toml                      wrangler deploy puts it on Cloudflare
//	workerd.capnp                      workerd serve runs it here
//
// One request, in the Worker: (1) a configured source names the user; (2) the
// whitelist decides, then the bucket's home, then the default; (3) a bucket that
// is held is answered 503 with Retry-After, and nothing is sent; (4) the request
// goes to the datacenter's upstream, with the Drover-* headers in place of those
// that the client sent; (5) where that cannot be reached, an idempotent request
// goes to the next of its failover list; (6) a 421 with Drover-Map-Version sends
// it once more, to another datacenter; (7) the answer streams back.
//
// A Worker has one map for its whole life: publishing means exporting and
// deploying again. So it does less than a proxy, and says so:
//
//   - it never waits: for no hold, and for no newer map;
//   - a re-route goes where the 421's own Drover-Datacenter says, or else to the
//     other end of the migration: the default's source or target, or the other
//     of two datacenters. It is one at most, and never to the same place. When
//     there is no such place, or it answers 421 too, the client gets 503 with
//     Retry-After: 1. A body that is not kept (over the replay buffer, of unknown
//     length, or of a GET) cannot be sent again: the client gets the 421;
//   - it sees headers as text, not as bytes. A user id that has a byte outside
//     printable ASCII, or that may be two lines' values joined (", "), goes to
//     the default as bad_user, from whatever source. Whitelisted users with such
//     ids are left out, and counted in Bundle.LeftOut;
//   - it knows no peers. Identity headers are believed of all clients or (the
//     default) of none: TrustClients is for a Worker that only a front which
//     sets these headers can reach. Cookies, paths and queries are read in any
//     case, as by the proxy, since they decide where a request goes and not what
//     it may do;
//   - it verifies no tokens, and takes no bucket from a header.
//
// The package never writes an export that the platform would refuse for its
// size, never one without an upstream for each of the map's datacenters, and
// never leaves a file half written. It reads no network and no clock but
// Options.Now.
//
// All functions may be called concurrently; two exports to one folder at once
// leave the files of both, and the Worker refuses such a mixture at its start.
package worker
