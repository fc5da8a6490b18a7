package config

import "drover/migrator/internal/promote"

// PromotionLimits gives the limits as the engine of promotions takes them. The
// keys of move hold for promotions too; what only promotions have is fixed.
func (c *Config) PromotionLimits() promote.Limits {
	l := promote.DefaultLimits()
	m := c.Move
	l.FreezeLock, l.Freeze, l.FreezeTries = m.FreezeLock, m.Freeze, m.FreezeTries
	l.Backoff, l.BackoffMax, l.CatchUp = m.Backoff, m.BackoffMax, m.CatchUp
	l.ReadOnly = min(l.ReadOnly, m.Freeze/2)
	l.Hold.Until, l.Hold.Ack = m.Hold, m.Ack
	return l
}
