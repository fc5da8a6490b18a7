// Package parity asks proxies what they found when they mirrored requests to
// another datacenter, and judges whether that is good enough to go on.
//
// Who gates by it, in this order: (1) Collect, when the wave begins; (2) Collect
// again when it is to be judged; (3) After, for what was counted in between; (4)
// Gate.Judge. The second Collect alone judges everything since the proxies
// began.
//
// A proxy that cannot be asked, mirrors nothing, or has compared too little to
// tell is no good news: the judgement is to hold, with the reason. So are
// answers that did not come: see Interval.Upper of drover/internal/parity.
//
// Everything may be called concurrently.
package parity
