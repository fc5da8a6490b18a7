package campaign

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // quiet hours must not depend on what the machine has installed

	"drover/internal/config"
)

// Quiet says when no step begins.
type Quiet struct {
	// Zone is a name of the tz database; empty is UTC.
	Zone string `yaml:"zone,omitempty" json:"zone,omitempty"`
	// Hours are such as "22:00-06:00", or "sat,sun 00:00-24:00". What begins on a
	// named day and ends after midnight ends on the next one.
	Hours []string `yaml:"hours,omitempty" json:"hours,omitempty"`
}

// IsZero says whether there are none.
func (q Quiet) IsZero() bool { return q.Zone == "" && len(q.Hours) == 0 }

// quietHoursMax bounds the list: a week with other hours each day has 14.
const quietHoursMax = 64

// dayMinutes is a day on the clock on the wall, which is what quiet hours go by.
const dayMinutes = 24 * 60

// calendar is a Quiet that has been read: which minutes of a week, by the clock
// on the wall, are quiet. A minute that summer time leaves out is not there, and
// one that comes twice is quiet twice.
type calendar struct {
	zone  *time.Location
	quiet [7 * dayMinutes]bool
	any   bool
}

func (q Quiet) read() (*calendar, error) {
	c := &calendar{zone: time.UTC}
	var err error
	if q.Zone != "" {
		if c.zone, err = time.LoadLocation(q.Zone); err != nil || q.Zone == "Local" {
			return nil, fmt.Errorf("zone %q: want a name such as Europe/Berlin", q.Zone)
		}
	}
	for _, text := range q.Hours {
		if err := c.add(text); err != nil {
			return nil, fmt.Errorf("hours %q: %w; want such as 22:00-06:00 or sat,sun 00:00-24:00", text, err)
		}
	}
	return c, nil
}

func (c *calendar) add(text string) error {
	words := strings.Fields(text)
	days := []time.Weekday{0, 1, 2, 3, 4, 5, 6}
	switch len(words) {
	case 1:
	case 2:
		days = nil
		for name := range strings.SplitSeq(strings.ToLower(words[0]), ",") {
			day := strings.Index("sun mon tue wed thu fri sat ", name+" ")
			if len(name) != 3 || day < 0 {
				return fmt.Errorf("%q is no day", name)
			}
			days = append(days, time.Weekday(day/4))
		}
	default:
		return fmt.Errorf("%d words", len(words))
	}
	from, to, ok := strings.Cut(words[len(words)-1], "-")
	if !ok {
		return fmt.Errorf("no end")
	}
	first, err := clock(from)
	if err != nil {
		return err
	}
	end, err := clock(to)
	if err != nil {
		return err
	}
	if first == end || first == dayMinutes {
		return fmt.Errorf("no time between %s and %s", from, to)
	}
	if end < first {
		end += dayMinutes
	}
	for _, day := range days {
		for m := first; m < end; m++ {
			c.quiet[(int(day)*dayMinutes+m)%len(c.quiet)] = true
		}
	}
	c.any = true
	return nil
}

// clock reads a time of day in minutes, up to 24:00.
func clock(text string) (int, error) {
	h, m, ok := strings.Cut(text, ":")
	hour, err1 := strconv.Atoi(h)
	minute, err2 := strconv.Atoi(m)
	total := hour*60 + minute
	if !ok || err1 != nil || err2 != nil || len(m) != 2 || hour < 0 || minute < 0 || minute > 59 || total > dayMinutes {
		return 0, fmt.Errorf("%q is no time of day", text)
	}
	return total, nil
}

// at says whether a moment is quiet, and until when: the zero time is never.
func (c *calendar) at(now time.Time) (until time.Time, quiet bool) {
	if c == nil || !c.any || !c.isQuiet(now) {
		return time.Time{}, false
	}
	// By the minute, not by arithmetic on the wall's clock: that is what makes
	// summer time right. Zones are minutes away from UTC, so minutes begin together.
	t := now.Truncate(time.Minute)
	for range 8 * dayMinutes {
		if t = t.Add(time.Minute); !c.isQuiet(t) {
			return t, true
		}
	}
	return time.Time{}, true
}

func (c *calendar) isQuiet(t time.Time) bool {
	t = t.In(c.zone)
	return c.quiet[int(t.Weekday())*dayMinutes+t.Hour()*60+t.Minute()]
}

// check adds the problems of the quiet hours.
func (q Quiet) check(p *config.Problems) {
	if len(q.Hours) > quietHoursMax {
		p.Add("quiet.hours", len(q.Hours), fmt.Sprintf("%d at most", quietHoursMax))
		return
	}
	c, err := q.read()
	if err != nil {
		p.Add("quiet", err.Error(), "hours that can be read")
		return
	}
	for _, quiet := range c.quiet {
		if !quiet {
			return
		}
	}
	p.Add("quiet.hours", strings.Join(q.Hours, "; "), "some time in a week when steps may begin")
}
