package config

import (
	"os"
	"strings"

	"drover/bucketmap"
)

// complete sets the defaults that depend on other keys, and those of entries
// that were made in code.
func (c *Config) complete() {
	for i := range c.Listeners {
		c.Listeners[i].complete()
	}
	for i := range c.Identity {
		if c.Identity[i].JWT != nil {
			c.Identity[i].JWT.complete()
		}
	}
	for name, dc := range c.Datacenters {
		dc.complete()
		c.Datacenters[name] = dc
	}
	c.Limits.complete()
	c.Log.Level = strings.ToLower(c.Log.Level)
	if c.ID == "" {
		c.ID = defaultID(c.AllListeners()[0].Address)
	}
}

// orDefault sets what says nothing.
func orDefault[T comparable](value *T, standard T) {
	var nothing T
	if *value == nothing {
		*value = standard
	}
}

func defaultID(listen string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "proxy"
	}
	id := []byte(host + "-" + listen[strings.LastIndexByte(listen, ':')+1:])
	for i, b := range id {
		if !nameByte(b) {
			id[i] = '-'
		}
	}
	if over := len(id) - bucketmap.NameMax; over > 0 {
		id = id[over:] // the port at the end tells proxies of one machine apart
	}
	return string(id)
}
