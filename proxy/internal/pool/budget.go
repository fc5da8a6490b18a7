package pool

import "sync/atomic"

// tryUnits is what one try costs: ratios are counted in thousandths.
const tryUnits = 1000

// budget bounds second tries, so that an upstream in trouble is not asked
// twice for everything. It starts full and holds no more than its reserve, or
// one try.
type budget struct {
	units        atomic.Int64
	earned, most int64
}

func newBudget(ratio float64, reserve int) *budget {
	b := &budget{earned: int64(ratio*tryUnits + 0.5), most: int64(max(reserve, 1)) * tryUnits}
	b.units.Store(int64(reserve) * tryUnits)
	return b
}

// earn adds what one request earns.
func (b *budget) earn() {
	if b.units.Load() < b.most {
		b.units.Add(b.earned)
	}
}

// spend takes one try, if there is one.
func (b *budget) spend() bool {
	if b.units.Add(-tryUnits) >= 0 {
		return true
	}
	b.units.Add(tryUnits)
	return false
}
