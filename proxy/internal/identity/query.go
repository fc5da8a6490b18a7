package identity

// byQuery returns the value of the first parameter of that name. A parameter
// with a name that does not decode is another one.
func byQuery(target []byte, name string, scratch []byte) ([]byte, error) {
	_, rest := cut(target, '?')
	for len(rest) != 0 {
		var pair []byte
		pair, rest = cut(rest, '&')
		key, value := cut(pair, '=')
		if string(key) != name {
			key, err := decode(scratch, key, true)
			if err != nil || string(key) != name {
				continue
			}
		}
		return decodeID(scratch, value, true)
	}
	return nil, nil
}
