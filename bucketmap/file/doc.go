// Package file keeps the map in a folder: the embedded store, for one machine,
// for a shared file system, and for a folder that configuration management
// copies to every proxy.
//
//	map.yaml                    the map in force
//	history/000000000012.yaml   the content of every version that ever was in force
//	history/000000000012.json   who published it, when and why
//	history/000000000013.pending  the same of a version that is being published
//	history/000000000012.delta  what leads to it from version 11; need not be there
//	lock                        publishers' lock
//	proxies/p1.live             locked by proxy p1 for as long as its process lives
//	proxies/p1.json             what p1 runs
//
// Publish works in this order: (1) lock; (2) read map.yaml and compare the
// version; (3) write the history's content and its record, pending, and sync
// them, and write the delta; (4) write a temporary file, sync it, rename it
// over map.yaml, sync the folder: the rename is the commit point; (5) make the
// record final. A crash
// before 4 leaves the old map and a pending record, which the next publisher
// overwrites: that version was never in force. A crash after 4 leaves the new
// map and a pending record, which the next publisher makes final before
// anything else. So map.yaml is never missing or broken, every version that
// was in force has its record, and none is used twice.
//
// The history is kept for ever; nothing in this package deletes from it.
//
// An operator may edit map.yaml by hand, over it or in place, and must raise
// its version: proxies refuse one that is not higher. The next publication
// puts such a map into the history as "edited by hand"; a second edit by hand
// before it leaves no record of the first. Comments are lost at the next
// publication. To repair a broken or deleted map.yaml, copy the newest
// content of the history over it.
//
// Watch sees a published map within milliseconds through fsnotify on the
// folder. Where it has the version before, it does not read YAML but applies
// the delta, which has the SHA-256 of the map.yaml that it stands for and the
// digests of both maps: it is used where all three are right, and else, missing
// or damaged or another publication's, it changes nothing but the speed. What is
// not in the history, an edit by hand, is reported once it has stayed the same
// for a moment, so that a file half written by an editor is not taken for a map. As fsnotify sees nothing of other machines on a
// network file system, the file is read again every Options.Recheck as well.
//
// Ack needs no clock: the proxy's process locks its .live file, and the
// kernel unlocks it when the process ends. On NFS the locks work from version
// 4 on (and on 3 with lockd), and a machine that dies without a word keeps
// its locks until the server's lease on them ends, about 90 seconds; rename
// and sync mean there what the server makes of them. For several machines the
// consul store is the better one.
//
// Permissions follow the folder's. With proxies and operators under two users
// of one group, make the folder setgid and writable for the group:
// chmod 2775. Readers need write permission in proxies/ alone.
//
// What is no regular file in a file's place, a pipe or a device, and a file
// larger than any that this package writes, is refused without being opened or
// read: see package regular.
//
// The package never writes outside the folder, never writes a file of the
// folder in place but a proxy's own acknowledgement, which has a checksum, and
// never removes the map.
//
// A Store may be used concurrently, and so may any number of stores and
// processes on the same folder.
package file
