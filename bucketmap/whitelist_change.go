package bucketmap

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
)

// change returns the whitelist after changes, which are in order, each user
// once.
func (w *Whitelist) change(changes []UserChange) (*Whitelist, error) {
	if len(changes) == 0 {
		return w, nil
	}
	next := &Whitelist{seed: w.seed, pages: w.pages, length: w.length}
	if next.seed == (maphash.Seed{}) {
		next.seed = maphash.MakeSeed()
	}
	var parts [userPages][]UserChange
	for i, c := range changes {
		switch {
		case i != 0 && changes[i-1].User >= c.User:
			return nil, mismatch("whitelist %q: the changes are not in order", c.User.String())
		case c.From == c.To:
			return nil, mismatch("whitelist %q: the change is none", c.User.String())
		case len(c.User) < 1 || len(c.User) > UserIDMax:
			return nil, wrongUser(fmt.Sprintf("an id of %d bytes", len(c.User)), idBound)
		}
		page := userPageOf(string(c.User))
		parts[page] = append(parts[page], c)
	}
	for i, part := range parts {
		if len(part) == 0 {
			continue
		}
		users, err := w.pages[i].changed(part)
		if err != nil {
			return nil, err
		}
		if old := w.pages[i]; old != nil {
			next.length -= len(old.entries)
		}
		next.length += len(users)
		next.pages[i] = newUserPage(next.seed, users)
	}
	if next.length > WhitelistMax {
		return nil, wrongUser(fmt.Sprintf("%d users", next.length), fmt.Sprintf("at most %d", WhitelistMax))
	}
	next.seal()
	return next, nil
}

// changed returns the users of a page after changes.
func (p *userPage) changed(changes []UserChange) ([]user, error) {
	var users []user
	if p != nil {
		users = make([]user, 0, len(p.entries)+len(changes))
	}
	put := func(c UserChange, was Datacenter) error {
		if c.From != was {
			return mismatch("whitelist %q: it is in %q, not in %q", c.User.String(), was, c.From)
		}
		if c.To != "" {
			users = append(users, user{string(c.User), c.To})
		}
		return nil
	}
	for u := range p.users() {
		for len(changes) != 0 && string(changes[0].User) < u.id {
			if err := put(changes[0], ""); err != nil {
				return nil, err
			}
			changes = changes[1:]
		}
		if len(changes) != 0 && string(changes[0].User) == u.id {
			if err := put(changes[0], u.datacenter); err != nil {
				return nil, err
			}
			changes = changes[1:]
			continue
		}
		users = append(users, u)
	}
	for _, c := range changes {
		if err := put(c, ""); err != nil {
			return nil, err
		}
	}
	return users, nil
}

// diffWhitelists returns the changes from one whitelist to another, in order.
func diffWhitelists(from, to *Whitelist) []UserChange {
	var changes []UserChange
	for i := range userPages {
		a, b := from.pages[i], to.pages[i]
		if a == b || a != nil && b != nil && a.digest == b.digest {
			continue
		}
		changes = diffUsers(changes, a, b)
	}
	slices.SortFunc(changes, func(a, b UserChange) int { return cmp.Compare(a.User, b.User) })
	return changes
}

func diffUsers(changes []UserChange, from, to *userPage) []UserChange {
	was, now := slices.Collect(from.users()), slices.Collect(to.users())
	for len(was) != 0 || len(now) != 0 {
		switch {
		case len(now) == 0 || len(was) != 0 && was[0].id < now[0].id:
			changes = append(changes, UserChange{UserID(was[0].id), was[0].datacenter, ""})
			was = was[1:]
		case len(was) == 0 || now[0].id < was[0].id:
			changes = append(changes, UserChange{UserID(now[0].id), "", now[0].datacenter})
			now = now[1:]
		default:
			if was[0] != now[0] {
				changes = append(changes, UserChange{UserID(was[0].id), was[0].datacenter, now[0].datacenter})
			}
			was, now = was[1:], now[1:]
		}
	}
	return changes
}
