package cli

import (
	"fmt"

	"drover/bucketmap"
	"drover/bucketmap/consul"
	"drover/bucketmap/file"
	"drover/bucketmap/push"
	"drover/migrator/internal/config"
)

// store is the map's store, whichever the configuration names.
type store interface {
	bucketmap.Store
	Close() error
}

// openStore opens the store. It connects to nothing yet.
func openStore(m *config.Map) (store, error) {
	sign, err := m.SignKey()
	if err != nil {
		return nil, fmt.Errorf("%w: map.%w", errUsage, err)
	}
	switch m.Store {
	case config.StoreConsul:
		keys, err := config.LoadPublicKeys(m.Keys)
		if err != nil {
			return nil, fmt.Errorf("%w: map.keys: %w", errUsage, err)
		}
		options := consul.Options{Address: m.Consul.Address, Datacenter: m.Consul.Datacenter,
			TokenFile: m.Consul.TokenFile, Prefix: m.Consul.Prefix, Sign: sign, Keys: keys}
		if t := m.Consul.TLS; t != (config.TLS{}) {
			options.TLS = &consul.TLS{CA: t.CA, Cert: t.Cert, Key: t.Key, ServerName: t.ServerName}
		}
		opened, err := consul.Open(options)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		return opened, nil
	case config.StorePush:
		token, err := config.Access{TokenFile: m.Push.TokenFile}.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: map.push.%w", errUsage, err)
		}
		tls, err := m.Push.TLS.Config()
		if err != nil {
			return nil, fmt.Errorf("%w: map.push.%w", errUsage, err)
		}
		opened, err := push.Open(push.Options{Dir: m.Dir, Proxies: m.Push.Proxies, Token: token, TLS: tls, Sign: sign})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		return opened, nil
	default:
		opened, err := file.Open(m.Dir, file.Options{})
		if err != nil {
			return nil, err
		}
		return opened, nil
	}
}
