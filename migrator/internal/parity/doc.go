// Package parity asks proxies what they found when they mirrored requests to
// another datacenter, and judges whether that is good enough to go on.
//
// Who gates by it, in this order: (1) a new Watch, when that begins which is to be
// judged; (2) Collect, again and again; (3) Watch.Judge, each time, which judges by
// what was counted since its first look, and lately. Gate.Judge alone judges
// everything since the proxies began.
//
// A proxy that cannot be asked, mirrors nothing, or has compared too little to
// tell is no good news: the judgement is to hold, with the reason. So are
// answers that did not come: see Interval.Upper of drover/internal/parity.
//
// Everything but a Watch may be called concurrently.
package parity
