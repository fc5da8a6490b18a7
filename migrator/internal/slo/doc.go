// Package slo judges whether users are well: error ratio and latency, for each
// datacenter, and for those who were just moved against those who were not.
//
// The protocol: (1) a configuration has a Config, with Default's values, Resolve
// and Check; (2) New makes an Evaluator; (3) somebody looks at least as often as
// its Interval, by Run or by Evaluate: the source proxies knows only of what it has
// looked at; (4) Evaluate looks now and gives a Verdict, whatever happens; (5) the
// Evaluator is a prometheus.Collector of its last verdict; (6) Rules writes the
// objectives as rules of Prometheus. docs/slo.md says what is counted, and what the
// keys mean.
//
// # From requests to figures
//
// An objective is of a group of requests: a datacenter, and in it all, those of
// users who were just moved, or those of users who stayed. Its burn rate in a
// window is the share of bad requests by the share that may be bad. Windows come
// in pairs, a long one and a short one, after the Site Reliability Workbook,
// chapter 5. A figure is known when all of this is so, and Unknown otherwise:
//
//   - every proxy has answered this look, in time, with a page of bounded size
//     (or Prometheus has, without a warning, and every proxy is up and fresh);
//   - every number is one that a counter has: not NaN, infinite, negative, of
//     another time, there twice, lower than before in the same process;
//   - every proxy has the group's series;
//   - the shortest window of a page is watched in full; of a longer window that
//     counts which there is. A window of which a quarter was not looked at begins
//     anew with the next look;
//   - the window has min_events requests.
//
// A counter that falls with another start of the process begins at zero. If
// nobody looked at the proxy for max_age before that, what it counted is lost,
// and its windows begin anew.
//
// # From figures to a verdict
//
// The level of a pair, of one objective and one group:
//
//	short window   long window    page       ticket
//	unknown        any            Unknown    Unknown
//	any            unknown        Unknown    Unknown
//	above          above          Burning    Unhealthy
//	one or none above             Healthy    Healthy
//
// Those who were moved are compared with those who stayed, in the same datacenter
// and in each other, in the shortest window of a page (compare.go): Burning,
// Unhealthy or Healthy; a comparison without a baseline is left out.
//
// The verdict is the first of these that some pair or comparison has:
//
//	1  Burning    by its own figures, which are whole; that others are not known
//	              does not make it better
//	2  Unknown    no data is not good news: it beats Unhealthy, since to hold is
//	              more careful than to go on slower
//	3  Unhealthy
//	4  Healthy    there is one figure at least, and every one is so
//
// Left out, and so never the reason for anything, are too few requests of those
// who stayed (all has them too) and of groups that Options.Expect expects nobody
// in. With nothing left the verdict is Unknown. A source that is not whole leaves
// no figure known: a proxy that is silent makes everything Unknown, also while
// the others burn, since what it would say may be the opposite.
//
// The package moves nobody and keeps nothing on disk. It never retries within a
// look, never guesses a number, and reads no more of an answer than answer_max.
// Every method of an Evaluator may be called concurrently; looks come one after
// another. A Config is not changed after New.
package slo
