package config

import (
	"reflect"
	"slices"
	"testing"
)

// key is one field of the configuration: a leaf, or a section.
type key struct {
	path     string // such as listeners[].tls.min_version, datacenters.NAME.upstreams
	owner    string // the type that has the field
	field    reflect.StructField
	leaf     bool
	standard reflect.Value // what it is when the file says nothing
}

// allKeys lists every key, sections before what is in them.
func allKeys() []key { return keysBelow(reflect.ValueOf(Default()), "") }

func keysBelow(section reflect.Value, prefix string) []key {
	var all []key
	for i := range section.NumField() {
		k := key{owner: section.Type().Name(), field: section.Type().Field(i), standard: section.Field(i)}
		k.path = join(prefix, keyOf(k.field))
		below, suffix := sectionOf(section.Field(i))
		k.leaf = !below.IsValid()
		all = append(all, k)
		if !k.leaf {
			all = append(all, keysBelow(below, k.path+suffix)...)
		}
	}
	return all
}

// sectionOf returns the section that a value is or has, with its defaults, and
// what stands for an entry in its path; an invalid value for a leaf.
func sectionOf(v reflect.Value) (below reflect.Value, suffix string) {
	typ := v.Type()
	switch typ.Kind() {
	case reflect.Struct:
		return v, ""
	case reflect.Pointer:
		return entryOf(typ.Elem()), ""
	case reflect.Slice:
		return entryOf(typ.Elem()), "[]"
	case reflect.Map:
		return entryOf(typ.Elem()), ".NAME"
	default:
		return reflect.Value{}, ""
	}
}

// entryOf returns what an entry of a list or a map leaves out.
func entryOf(typ reflect.Type) reflect.Value {
	switch typ {
	case reflect.TypeFor[Listener]():
		return reflect.ValueOf(DefaultListener())
	case reflect.TypeFor[ListenerTLS]():
		return reflect.ValueOf(DefaultListenerTLS())
	case reflect.TypeFor[JWT]():
		return reflect.ValueOf(DefaultJWT())
	case reflect.TypeFor[Datacenter]():
		return reflect.ValueOf(DefaultDatacenter())
	}
	if typ.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	return reflect.Zero(typ)
}

func TestEveryKeyHasANameAndBounds(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range allKeys() {
		if keyOf(k.field) == "" || seen[k.path] {
			t.Errorf("%s.%s: the key %q is empty or there twice", k.owner, k.field.Name, k.path)
		}
		seen[k.path] = true
		typ := k.field.Type
		if typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			if _, err := parseRange(k.field.Tag.Get(tagCount), reflect.TypeFor[int]()); err != nil {
				t.Errorf("%s: %v", k.path, err)
			}
			typ = typ.Elem()
		}
		if !k.leaf {
			continue
		}
		if _, err := parseBound(k.field.Tag.Get(tagBounds), typ); err != nil {
			t.Errorf("%s: %v", k.path, err)
		}
	}
	if len(seen) < 100 {
		t.Errorf("the walk found only %d keys", len(seen))
	}
}

// wanted are the keys that have no default: a file, or an entry, must have
// them.
func wanted() []string {
	return []string{
		"identity", "datacenters", "datacenters.NAME.upstreams",
		"listeners[].address", "listeners[].tls.certificates",
		"listeners[].tls.certificates[].cert", "listeners[].tls.certificates[].key",
	}
}

func TestEveryDefaultIsWithinItsBoundsButThoseThatAreWanted(t *testing.T) {
	var without []string
	for _, k := range allKeys() {
		if !withinBounds(k) {
			without = append(without, k.path)
		}
	}
	for _, path := range wanted() {
		if !slices.Contains(without, path) {
			t.Errorf("%s has a default within its bounds", path)
		}
	}
	for _, path := range without {
		if !slices.Contains(wanted(), path) {
			t.Errorf("the default of %s is not within its bounds", path)
		}
	}
}
