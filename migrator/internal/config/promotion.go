package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"drover/internal/config"
	"drover/migrator/internal/promote"
)

// Promotion is what only promotions of whole shards have.
type Promotion struct {
	// Hooks are programs that are run at points of every promotion; see
	// docs/promotion-hooks.md.
	Hooks []Hook `yaml:"hooks"`
	// PastReadOnly names accounts that read_only does not stop, and by which
	// nobody writes during a promotion. Any other such account refuses it.
	PastReadOnly []string `yaml:"past_read_only"`
	// AllowMySQL allows promotions of MySQL servers, which are not tested
	// continuously; see docs/promotion.md.
	AllowMySQL bool `yaml:"allow_mysql"`
}

// Hook is promote.Hook by its keys.
type Hook struct {
	At      string        `yaml:"at"`
	Run     []string      `yaml:"run"`
	Timeout time.Duration `yaml:"timeout"`
}

const (
	// hooksMax bounds the hooks: all of them run one after the other, 16 times
	// hookTimeoutMax at worst.
	hooksMax = 16
	// hookTimeout is a hook's when it has none; hookTimeoutMax is the most.
	hookTimeout    = 10 * time.Second
	hookTimeoutMax = 10 * time.Minute
	// hookWordsMax bounds a program's arguments.
	hookWordsMax = 64
	// pastReadOnlyMax bounds the accounts that the operator vouches for.
	pastReadOnlyMax = 64
)

// defaultPromotion vouches for the server's first administrator, whom every
// server has.
func defaultPromotion() Promotion { return Promotion{PastReadOnly: []string{"root"}} }

// defaultTimeout is that of a hook that names none: within the freeze users
// wait, so half of that.
func (h Hook) defaultTimeout(freeze time.Duration) time.Duration {
	if promote.HookPoint(h.At) == promote.BeforeCommit {
		return freeze / 2
	}
	return hookTimeout
}

// resolve sets the timeouts that are not given, and puts the folder before programs that are named by a relative path. A
// bare name is looked for in PATH.
func (p *Promotion) resolve(dir string, freeze time.Duration) {
	for i, h := range p.Hooks {
		if h.Timeout == 0 {
			p.Hooks[i].Timeout = h.defaultTimeout(freeze)
		}
		if len(h.Run) != 0 && strings.Contains(h.Run[0], "/") && !filepath.IsAbs(h.Run[0]) {
			p.Hooks[i].Run = append([]string{filepath.Join(dir, h.Run[0])}, h.Run[1:]...)
		}
	}
}

func (p *Promotion) validate(problems *config.Problems, freeze time.Duration) {
	problems.Want(len(p.Hooks) <= hooksMax, "promotion.hooks", len(p.Hooks), fmt.Sprintf("%d at most", hooksMax))
	for i, h := range p.Hooks {
		key := fmt.Sprintf("promotion.hooks[%d]", i)
		at := promote.HookPoint(h.At)
		problems.Want(slices.Contains(promote.HookPoints(), at), key+".at", h.At, fmt.Sprintf("one of %v", promote.HookPoints()))
		problems.Want(len(h.Run) != 0 && len(h.Run) <= hookWordsMax && h.Run[0] != "", key+".run", h.Run,
			fmt.Sprintf("a program and its arguments, %d words at most", hookWordsMax))
		most := hookTimeoutMax
		if at == promote.BeforeCommit {
			most = freeze // users wait for it
		}
		problems.Lasting(key+".timeout", h.Timeout, time.Millisecond, most)
	}
	problems.Want(len(p.PastReadOnly) <= pastReadOnlyMax, "promotion.past_read_only", len(p.PastReadOnly), fmt.Sprintf("%d at most", pastReadOnlyMax))
}

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

// PromotionHooks gives the hooks as the engine of promotions takes them.
func (c *Config) PromotionHooks() []promote.Hook {
	hooks := make([]promote.Hook, len(c.Promotion.Hooks))
	for i, h := range c.Promotion.Hooks {
		hooks[i] = promote.Hook{At: promote.HookPoint(h.At), Run: h.Run, Timeout: h.Timeout}
	}
	return hooks
}
