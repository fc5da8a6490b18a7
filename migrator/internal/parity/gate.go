package parity

import (
	"fmt"
	"strings"

	"drover/internal/parity"
)

// Gate is how much may differ.
type Gate struct {
	// DifferentMax is the greatest share of differing answers, 0 to 1, that is
	// good. The upper end of the interval is compared with it.
	DifferentMax float64
}

// differentMin is how many answers must differ, of all or of one class, to fail a
// gate: one of the first few says little, whatever its interval is.
const differentMin = 3

// Level is what a gate says.
type Level string

const (
	// Passed: fewer answers differ than may, by the upper end of the interval.
	Passed Level = "passed"
	// Failed: more differ than may, by the lower end, in all or in one class, and
	// three or more.
	Failed Level = "failed"
	// Unknown: a proxy is missing, or too little was compared to tell.
	Unknown Level = "unknown"
)

// Judgement is a gate's answer. Only Passed is a reason to go on.
type Judgement struct {
	Level  Level  `json:"level"`
	Reason string `json:"reason"` // one sentence, with the figures
}

// Judge says whether the proxies' reports are good enough. What certainly
// differs fails, though proxies are missing.
func (g Gate) Judge(c Collected) Judgement {
	all := c.Report.Differing
	if all.Lower > g.DifferentMax && all.Different >= differentMin {
		return Judgement{Failed, fmt.Sprintf("%s differ, and at most %s may", figures(all), percent(g.DifferentMax))}
	}
	// A class with few requests can be broken altogether, and not be seen in the
	// whole.
	for _, one := range c.Report.Classes {
		if one.Differing.Lower > g.DifferentMax && one.Differing.Different >= differentMin && !one.Learning {
			return Judgement{Failed, fmt.Sprintf("of %s, %s differ, and at most %s may", one.Class, figures(one.Differing), percent(g.DifferentMax))}
		}
	}
	switch {
	case len(c.Missing) != 0:
		return Judgement{Unknown, fmt.Sprintf("%d of %d proxies gave no report: %s: %s",
			len(c.Missing), len(c.Missing)+len(c.Proxies), c.Missing[0].Proxy, c.Missing[0].Error)}
	case len(c.Proxies) == 0:
		return Judgement{Unknown, "no proxy was asked"}
	}
	if off := notMirroring(c.Proxies); len(off) != 0 {
		return Judgement{Unknown, fmt.Sprintf("%s mirrors nothing: set mirror.share in its configuration", strings.Join(off, ", "))}
	}
	if all.Upper > g.DifferentMax {
		return Judgement{Unknown, fmt.Sprintf("%s differ, with %d that could not be compared: too few to say that at most %s do",
			figures(all), c.Report.Total.Failed+c.Report.Total.Timeout, percent(g.DifferentMax))}
	}
	return Judgement{Passed, fmt.Sprintf("%s differ, and at most %s may", figures(all), percent(g.DifferentMax))}
}

func notMirroring(proxies map[string]parity.Report) []string {
	var off []string
	for base, r := range proxies {
		if !r.Enabled {
			off = append(off, base)
		}
	}
	return off
}

func figures(i parity.Interval) string {
	return fmt.Sprintf("%d of %d answers (%s, 95 %% sure of %s to %s)", i.Different, i.Compared, percent(i.Share), percent(i.Lower), percent(i.Upper))
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", 100*share) }
