package main

import (
	"io"
	"net/http"

	"drover/bucketmap/yaml"
	"drover/internal/admin"
)

// putMap takes a map that is pushed to this proxy, in its form for people, and
// answers once it is in force and no request goes out by the one before.
func (p *proxy) putMap(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "the map could not be read: "+err.Error(), http.StatusBadRequest)
		return
	}
	next, err := yaml.Decode(text)
	if err != nil {
		http.Error(w, "what came is no map: "+err.Error(), http.StatusBadRequest)
		return
	}
	if err := p.table.Offer(r.Context(), next); err != nil {
		http.Error(w, "the map is refused, and the one in force stays: "+err.Error(), http.StatusConflict)
		return
	}
	admin.WriteJSON(w, p.table.Status())
}
