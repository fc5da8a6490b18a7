// Package file keeps the map in a folder: the embedded store, for one machine,
// for a shared file system, and for a folder that configuration management
// copies to every proxy.
//
//	map.yaml                    the map in force
//	history/000000000012.yaml   the content of every version that ever was in force
//	history/000000000012.json   who published it, when and why
//	history/staged/000000000013-*  what is to become version 13, see below
//	history/000000000012.delta  what leads to it from version 11; need not be there
//	lock                        held while the map is replaced
//	queue                       held by one Publish at a time
//	proxies/p1.live             locked by proxy p1 for as long as its process lives
//	proxies/p1.json             what p1 runs
//
// Publish works in this order: (1) wait in the queue; (2) read map.yaml and compare the
// version; (3) make sure, durably, that the history has the map in force, which
// its publisher may have died before; (4) write the new version's record,
// content, map and delta into history/staged, under names that nobody else uses,
// and sync them; (5) lock, and look whether map.yaml is byte for byte the one of
// step 2 and the record is there still; move delta and content to their places in
// the history, then the map over map.yaml, and sync the folder: that rename is the
// commit point; (6) move the record to its place. A crash before the commit point leaves the
// old map, and files in staged that a later publisher clears away: that version
// was never in force. A crash after it leaves the new map and its record in
// staged, found there by the sum of map.yaml, which step 3 of the next publisher
// moves to its place. So map.yaml is never missing or broken, every version that
// was in force has its record, and none is used twice.
//
// Stage is steps 2 to 4, and Commit 5 and 6: a few renames and one sync, however
// large the map and long the history, which wait for no Publish under way. Step 3
// locks where it has something to do. Readers look at staged for one thing, the
// record of the map in force.
//
// The history is kept for ever; nothing in this package deletes from it but what
// is staged. That is bounded: publications clear it away, and 64 versions at most
// wait between two of them.
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
