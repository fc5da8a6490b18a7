package figures

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Page is a page of Prometheus text: every series by its name with its labels.
type Page map[string]float64

// Parse reads a page. Lines that are not series are passed over.
func Parse(text string) Page {
	page := Page{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			page[line[:at]] = v
		}
	}
	return page
}

// Sum adds up a metric over all its labels, and says whether there is any.
func (p Page) Sum(metric string) (sum float64, found bool) {
	for series, v := range p {
		if name, _, _ := strings.Cut(series, "{"); name == metric {
			sum, found = sum+v, true
		}
	}
	return sum, found
}

// By returns a metric's values by one of its labels, added up over the others.
func (p Page) By(metric, label string) map[string]float64 {
	by := map[string]float64{}
	for series, v := range p {
		if name, labels, _ := strings.Cut(series, "{"); name == metric {
			by[labelOf(labels, label)] += v
		}
	}
	return by
}

func labelOf(labels, label string) string {
	_, rest, found := strings.Cut(","+labels, ","+label+`="`)
	if !found {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// Since returns what was added since an earlier page.
func (p Page) Since(earlier Page) Page {
	added := make(Page, len(p))
	for series, v := range p {
		added[series] = v - earlier[series]
	}
	return added
}

// Quantile returns the q-quantile of a histogram, 0 to 1, over all its labels,
// and whether the histogram has counted anything. In the last bucket, which
// has no end, it is the end of the one before.
func (p Page) Quantile(q float64, histogram string) (float64, bool) {
	type bucket struct{ end, count float64 }
	var buckets []bucket
	for le, count := range p.By(histogram+"_bucket", "le") {
		if end, err := strconv.ParseFloat(le, 64); err == nil { // "+Inf" too
			buckets = append(buckets, bucket{end, count})
		}
	}
	slices.SortFunc(buckets, func(a, b bucket) int {
		if a.end < b.end {
			return -1
		}
		return 1
	})
	if len(buckets) == 0 || buckets[len(buckets)-1].count == 0 {
		return 0, false
	}
	rank := q * buckets[len(buckets)-1].count
	begin := bucket{}
	for _, b := range buckets {
		if b.count >= rank && b.count > begin.count {
			if math.IsInf(b.end, 1) {
				return begin.end, true
			}
			return begin.end + (b.end-begin.end)*(rank-begin.count)/(b.count-begin.count), true
		}
		begin = b
	}
	return begin.end, true
}
