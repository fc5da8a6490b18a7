// Package consul keeps the map in Consul's key-value store: the store for
// production, where proxies are on many machines.
//
//	drover/pointer               the version in force: the commit point
//	drover/history/000000000012  the pointer's content when version 12 was published
//	drover/chunks/<sha256>       pieces of full encodings, 256 KiB each, named by their content
//	drover/proxies/p1            what proxy p1 runs; gone when its process is
//
// The pointer names its version and digest, a base (an older version whose full
// encoding is in chunks) and how many deltas lead from there; the delta from
// the version before is in it when it is small. A history record is the same
// text, with who, why and when, so
//
//	consul kv get drover/history/000000000012 | consul kv put drover/pointer -
//
// repairs a pointer that was deleted or spoilt, if that is the newest record.
//
// Publish works in this order: (1) read the pointer, consistently, and compare
// the version; (2) make the delta from the version in force; (3) write a full
// encoding as chunks, if this is the first version, the delta is large, or 64
// deltas have come since the last; (4) write pointer and history record in one
// transaction, each on the condition that nobody did before: the commit point.
// A crash before 4 leaves chunks that nothing names. An answer that is lost at
// 4 is found out by sending the same transaction again, which cannot take
// effect twice; only if Consul cannot be reached for that, the outcome is
// unknown. Stage is 1 to 3, Commit is 4.
//
// Watch works in this order: (1) a blocking query on the pointer, and on
// nothing else; (2) the pointer's delta is applied to the version before, if
// that is known; (3) else the deltas of the history, from the version that is
// known or from the base. Digests and signatures are verified at each step.
// What cannot be read is reported once, as a bucketmap.RefusedError where
// Consul answers with what is no map, and looked at again until it can be.
// That Consul cannot be reached is reported when it lasts.
//
// Ack puts a key bound to a session that this process renews, so that it goes
// when the process does: at once on Close, and within twice Options.SessionTTL
// after a crash. A process that starts again under its id takes the key over
// at once, so that nobody takes its predecessor's word for its own; an older
// process that finds its id taken gets ErrProxyTaken. A session that is lost is
// made anew, with the newest acknowledgements. Health checks are no part of it:
// an agent that restarts takes no proxy out of the publishers' count.
//
// Rights that a token needs, for the prefix drover. A proxy's, on its own
// agent's node:
//
//	key_prefix "drover/"         { policy = "read" }
//	key_prefix "drover/proxies/" { policy = "write" }
//	session_prefix ""            { policy = "write" }
//
// A publisher's:
//
//	key_prefix "drover/" { policy = "write" }
//
// Whoever may write the pointer can stop the map from changing. Only
// signatures (Options.Sign, Options.Keys) keep such a one from putting a map of
// his own in force. To begin with signatures on a map without: publish once
// with Sign and without Keys. To change the key: give everybody both public
// keys, then publish with the new private one, which writes a new base.
//
// A version costs the size of its change, and every 64th the size of the map;
// nothing is ever deleted. 10,000 versions of a map of 256 KiB that change 200
// bytes each are 45 MiB.
//
// The package never writes outside its prefix, never deletes but its own
// proxies' keys, never reads the environment on its own (Consul's client takes
// namespace and partition from it), and holds nothing of unbounded size.
//
// A Store may be used concurrently, and so may any number of stores and
// processes on the same prefix.
package consul
