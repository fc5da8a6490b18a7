package config

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"drover/internal/config"
)

func TestABoundHoldsAtItsEndsAndNotBeyond(t *testing.T) {
	for _, c := range []struct {
		tag     string
		in, out []any
	}{
		{"1ms..24h", []any{time.Millisecond, 24 * time.Hour}, []any{time.Duration(0), 24*time.Hour + 1}},
		{"4KiB..1MiB", []any{4 * config.KiB, config.MiB}, []any{4*config.KiB - 1, config.MiB + 1}},
		{"0..1048576", []any{0, 1 << 20}, []any{-1, 1<<20 + 1}},
		{"0..1", []any{0.0, 0.5, 1.0}, []any{-0.1, 1.1, math.NaN(), math.Inf(1)}},
		{"json|text", []any{"json", "text"}, []any{"", "xml", "json|text", "JSON"}},
		{"json|text?", []any{"json", ""}, []any{"?", "text?"}},
		{"file|", []any{"file"}, []any{"", "consul"}},
		{"name?", []any{"", "a"}, []any{"a b"}},
	} {
		for _, v := range c.in {
			if !holds(t, c.tag, v) {
				t.Errorf("%s: %v is refused", c.tag, v)
			}
		}
		for _, v := range c.out {
			if holds(t, c.tag, v) {
				t.Errorf("%s: %v is accepted", c.tag, v)
			}
		}
	}
}

func holds(t *testing.T, tag string, v any) bool {
	t.Helper()
	b, err := parseBound(tag, reflect.TypeOf(v))
	if err != nil {
		t.Fatal(err)
	}
	return b.ok(reflect.ValueOf(v))
}

func TestATagThatCannotBeReadIsAProblemOfItsKey(t *testing.T) {
	var p config.Problems
	check(&p, reflect.ValueOf(struct {
		A int           `yaml:"a" bounds:"2..1"`
		B time.Duration `yaml:"b" bounds:"0..1"`
		C string        `yaml:"c" bounds:"no such form"`
		D []string      `yaml:"d" bounds:"name"`
		E int           `yaml:"e"`
		F int64         `yaml:"f" bounds:"0..1"`
		G bool          `yaml:"g" bounds:"yes|no"`
	}{}), "", "")
	var keys []string
	for _, one := range p.List {
		keys = append(keys, one.Key)
	}
	if got := strings.Join(keys, ""); got != "abcdefg" {
		t.Errorf("got %v", p.List)
	}
}

func TestFormsAcceptWhatTheySayAndNothingElse(t *testing.T) {
	for form, c := range map[string]struct{ in, out []string }{
		"host:port": {[]string{":80", "a:0", "[::1]:80"}, []string{"", "a", "a:b", "a:65536", "::1:80"}},
		"server":    {[]string{"a:80", "[::1]:80", "10.0.0.1:1"}, []string{"", ":80", "a:0", "a b:80", "a/b:80", "a"}},
		"host":      {[]string{"a.example", "10.0.0.1", "a:8080"}, []string{"", "a b", "a/b", "a\n", strings.Repeat("a", 260)}},
		"name":      {[]string{"a", "A-b_c.9"}, []string{"", "a b", "a/b", strings.Repeat("a", 65)}},
		"token":     {[]string{"X-User-Id", "a!#$%&'*+-.^_`|~"}, []string{"", "a b", "a:b", "a=b", "ä", strings.Repeat("a", 129)}},
		"label":     {[]string{"https://x/user id"}, []string{"", "a\nb", strings.Repeat("a", 129)}},
		"text":      {[]string{"a b", "ä"}, []string{"", "a\tb", "a\x7f"}},
		"file":      {[]string{"/a b/c", "c"}, []string{"", "a\x00"}},
		"network":   {[]string{"10.0.0.0/8", "::1/128"}, []string{"", "10.0.0.1", "10.0.0.0/33"}},
		"url":       {[]string{"http://a", "https://a:1/b?c"}, []string{"", "a:4318", "ftp://a", "http://", "/a"}},
		"path":      {[]string{"/", "/healthz?full=1"}, []string{"", "healthz", "/a b", "/a#b"}},
		"pattern": {
			[]string{"/{id}", "/1/user/{id}", "/user/{id}/", "/v*/users/{id}/steps", "/*/{id}"},
			[]string{"", "/", "/user", "user/{id}", "/{id}/{id}", "/u{id}", "/a//{id}", "/**/{id}", "/{user}/{id}", "/{id}?a", "/a b/{id}", "/" + strings.Repeat("a/", 32) + "{id}"},
		},
	} {
		for _, s := range c.in {
			if !holds(t, form, s) {
				t.Errorf("%s: %q is refused", form, s)
			}
		}
		for _, s := range c.out {
			if holds(t, form, s) {
				t.Errorf("%s: %q is accepted", form, s)
			}
		}
	}
}
