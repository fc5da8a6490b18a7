package bucketmap

import (
	"context"
	"testing"
)

// memory is a Publisher of one map. The first few publications lose.
type memory struct {
	Publisher
	current *Snapshot
	lose    int
}

func (m *memory) Load(context.Context) (*Snapshot, error) { return m.current, nil }

func (m *memory) Publish(_ context.Context, next *Snapshot, _ Change) error {
	if m.lose--; m.lose >= 0 {
		d := m.current.Edit() // somebody else's
		if err := d.SetHome(90, 99, "beta"); err != nil {
			return err
		}
		d.Declare(m.current)
		other, err := d.Snapshot()
		m.current = other
		if err != nil {
			return err
		}
		return ErrConflict
	}
	m.current = next
	return nil
}

func TestUpdateDeclaresWhatItMoves(t *testing.T) {
	m := &memory{current: hundred(t), lose: 1}
	_, err := Update(t.Context(), m, Change{}, func(d *Draft) error { return d.SetHome(0, 4, "beta") })
	must(t, err)
	if m.current.Moved() != 15 || m.current.Version() != 3 {
		t.Errorf("the odometer says %d in version %d, want 10 of somebody else and 5", m.current.Moved(), m.current.Version())
	}
	_, err = Update(t.Context(), m, Change{}, func(d *Draft) error {
		d.Moved = 0 // as an old content has it that comes back
		return d.SetHome(0, 99, "alpha")
	})
	must(t, err)
	if m.current.Moved() != 30 {
		t.Errorf("the odometer says %d after all 15 went back, want 30", m.current.Moved())
	}
}
