// Package export is what the exports of the map for other edges share: the
// map as one flat table, the user ids that no header can carry, and the way
// onto the disk.
//
// An export goes onto the disk in this order: (1) lock the folder; (2) refuse
// a map that is older than the one exported there; (3) write the files into a
// new folder beside, sync it, and rename it to a name made of the version and
// of the files' hash; (4) write the main file, which names that folder, and
// rename it into place: the commit point; (5) remove the folders that neither
// this main file nor the one before names. So an edge that is reloaded at any
// moment reads files of one version, all of them complete.
//
// The package never writes a file in place, never removes what it did not
// write, and keeps nothing between calls. All functions may be called
// concurrently, Write on one folder too: the callers wait for one another.
package export
