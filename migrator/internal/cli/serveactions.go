package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"drover/bucketmap"
	"drover/migrator/internal/console"
	"drover/migrator/internal/publish"
)

// consoleUsersMax bounds the users of one press of a button: more are for
// migrator whitelist --file.
const consoleUsersMax = 1000

// wordRemove is what an operator types to take users off the whitelist.
const wordRemove = "remove"

func (a *app) consoleActions(dir string) []console.Action {
	return append([]console.Action{whitelistAction{a, true}, whitelistAction{a, false}}, a.orderActions(dir)...)
}

// whitelistAction puts users on the whitelist, or takes them off.
type whitelistAction struct {
	app *app
	add bool
}

type whitelistArguments struct {
	To    bucketmap.Datacenter `json:"to,omitempty"`
	Users []string             `json:"users"`
}

func (w whitelistAction) Name() string {
	if w.add {
		return "whitelist-add"
	}
	return "whitelist-remove"
}

func (w whitelistAction) read(text json.RawMessage) (whitelistArguments, []bucketmap.UserID, error) {
	var args whitelistArguments
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&args); err != nil {
		return args, nil, fmt.Errorf("the arguments cannot be read: %w", err)
	}
	switch {
	case len(args.Users) == 0:
		return args, nil, errors.New("name a user or more")
	case len(args.Users) > consoleUsersMax:
		return args, nil, fmt.Errorf("more than %d users: use migrator whitelist with --file", consoleUsersMax)
	case w.add && args.To == "":
		return args, nil, errors.New("name the datacenter")
	case !w.add && args.To != "":
		return args, nil, errors.New("who is taken off the whitelist goes home: name no datacenter")
	}
	ids, err := userIDs(args.Users, "")
	return args, ids, err
}

// Confirm wants the datacenter typed to which users are sent.
func (w whitelistAction) Confirm(text json.RawMessage) (string, error) {
	args, _, err := w.read(text)
	if w.add {
		return string(args.To), err
	}
	return wordRemove, err
}

// Do publishes the change.
func (w whitelistAction) Do(ctx context.Context, by console.By, text json.RawMessage) (any, error) {
	args, ids, err := w.read(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", console.ErrRefused, err)
	}
	a := w.app
	why := by.Why
	if why == "" {
		why = fmt.Sprintf("%s of %d users on the console", w.Name(), len(ids))
	}
	// In the name of who pressed the button, not of who serves the page.
	publisher := &publish.Publisher{Store: a.store, Weight: a.weights, Who: by.Who + " on the console of " + a.env.Who, MaxChange: a.cfg.Map.MaxChange}
	var result whitelistResult
	snap, err := publisher.Edit(ctx, why, func(d *bucketmap.Draft) error {
		result = whitelistResult{}
		if w.add && !slices.Contains(d.Datacenters, args.To) {
			return fmt.Errorf("%w: the map has no datacenter %q", console.ErrRefused, args.To)
		}
		for _, id := range ids {
			result.edit(d, string(id), args.To)
		}
		result.Total = len(d.Whitelist)
		if result.Added+result.Changed+result.Removed == 0 {
			return bucketmap.ErrNoEdit
		}
		return nil
	})
	var refused *bucketmap.RefusedError
	switch {
	case errors.As(err, &refused), errors.Is(err, bucketmap.ErrConflict):
		return nil, fmt.Errorf("%w: nothing was changed: %w", console.ErrRefused, err)
	case err != nil:
		return nil, err
	}
	result.Version = snap.Version()
	return result, nil
}

// edit sends a user to a datacenter, or with none takes him off, and counts it.
func (r *whitelistResult) edit(d *bucketmap.Draft, id string, to bucketmap.Datacenter) {
	was, on := d.Whitelist[id]
	switch {
	case to == "" && on:
		r.Removed++
	case to == "" || was == to:
		r.Unchanged++
	case on:
		r.Changed++
	default:
		r.Added++
	}
	if to == "" {
		delete(d.Whitelist, id)
	} else {
		d.Whitelist[id] = to
	}
}
