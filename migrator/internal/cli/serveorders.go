package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"drover/migrator/internal/campaign"
	"drover/migrator/internal/console"
)

// What an operator types to take everybody home.
const wordReturnAll = "return all"

// orderAction is an order to the campaign in a folder.
type orderAction struct {
	dir     string
	server  string // who serves the page
	command campaign.Command
}

// orderActions are the buttons of the campaign in dir.
func (a *app) orderActions(dir string) []console.Action {
	var actions []console.Action
	for _, c := range campaign.Commands() {
		actions = append(actions, orderAction{dir, a.env.Who, c})
	}
	return actions
}

// orderArguments are those of all orders; which one takes which, read says.
type orderArguments struct {
	Rate   *uint64       `json:"rate"`
	Target string        `json:"target"`
	All    bool          `json:"all"`
	Mode   campaign.Mode `json:"mode"`
}

func (o orderAction) Name() string { return "campaign-" + string(o.command) }

// read makes an order of the arguments. It says what is wrong with them.
func (o orderAction) read(text json.RawMessage) (campaign.Order, error) {
	order := campaign.Order{Command: o.command}
	var args orderArguments
	if len(text) != 0 { // pause, resume and abort need none
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&args); err != nil {
			return order, fmt.Errorf("the arguments cannot be read: %w", err)
		}
	}
	rates, aims, returns := o.command == campaign.Rate, o.command == campaign.Skip || o.command == campaign.Return, o.command == campaign.Return
	switch {
	case rates && args.Rate == nil:
		return order, errors.New(`name the rate, in users an hour: {"rate": 5000}`)
	case !rates && args.Rate != nil, !aims && args.Target != "", !returns && (args.All || args.Mode != ""):
		return order, fmt.Errorf("%s does not take what was sent with it", o.command)
	case args.All && args.Target != "":
		return order, fmt.Errorf("name %s, or everybody, one of the two", args.Target)
	case args.Mode != "" && args.Mode != campaign.AtOnce && args.Mode != campaign.Stepwise:
		return order, fmt.Errorf("mode %q: want %s, %s, or nothing for the plan's", args.Mode, campaign.AtOnce, campaign.Stepwise)
	}
	if rates {
		order.Rate = *args.Rate
	}
	order.Target, order.All, order.Mode = args.Target, args.All, args.Mode
	return order, nil
}

// Confirm wants the order's own word typed: for a rate the number, and one more
// word where everybody goes home.
func (o orderAction) Confirm(text json.RawMessage) (string, error) {
	order, err := o.read(text)
	switch {
	case err != nil:
		return "", err
	case order.Command == campaign.Rate:
		return strconv.FormatUint(order.Rate, 10), nil
	case order.All:
		return wordReturnAll, nil
	}
	return string(order.Command), nil
}

// orderReceipt is what the page is answered: a campaign.Receipt, with the steps
// counted.
type orderReceipt struct {
	Campaign string        `json:"campaign"`
	Line     uint64        `json:"line"`
	Live     bool          `json:"live"`
	Obeyed   bool          `json:"obeyed"`
	After    time.Duration `json:"after"`
	Steps    int           `json:"steps"`
}

// Do sends the order.
func (o orderAction) Do(ctx context.Context, by console.By, text json.RawMessage) (any, error) {
	order, err := o.read(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", console.ErrRefused, err)
	}
	order.Who, order.Why = by.Who+" on the console of "+o.server, by.Why
	r, err := campaign.Send(ctx, o.dir, order, sendMax, campaign.WatchFiles)
	switch {
	case r.Line != 0 && err != nil:
		return nil, fmt.Errorf("%s is in the journal, line %d; whether a run has taken it in is not known: %w", o.command, r.Line, err)
	case errors.Is(err, campaign.ErrNone), errors.Is(err, campaign.ErrRefused):
		return nil, fmt.Errorf("%w: nothing was changed: %w", console.ErrRefused, err)
	case err != nil:
		return nil, fmt.Errorf("it is not known whether %s is in force; look at the journal: %w", o.command, err)
	}
	return orderReceipt{r.Campaign, r.Line, r.Live, r.Obeyed, r.After, len(r.Steps)}, nil
}
