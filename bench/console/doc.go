// Command console measures how soon migrator serve's page shows the map, and how
// smoothly it goes on while the map changes, in a real Chromium.
//
//	go run ./bench/console
//
// It (1) publishes a map of --buckets buckets in random order on 200 shards, the
// hardest to send and to paint, in a file store; (2) runs migrator serve on it,
// with shards that do not answer; (3) opens the page at 1,280 and at 400 pixels;
// (4) publishes --rate versions a second meanwhile, each moving 64 buckets
// anywhere; (5) prints the time from the navigation to the first picture of the
// grid, and the times between frames, which are 16.7 ms on a free machine.
//
// Browser, publisher and migrator share the machine, and Chromium paints without
// a graphics card: the figures are the worst case. The program listens on
// loopback alone, and ends what it started. It has no gate.
package main
