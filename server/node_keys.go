package server

import (
	"crypto"
	"path"

	"github.com/brevet-pim/brevet/statement"
)

// nodeKeys are the keys of one gateway.
type nodeKeys struct {
	statement crypto.Signer // signs requests for people who ask inline
	holder    crypto.Signer // certificates are issued to it
	host      crypto.Signer // shown to people's ssh
	tls       crypto.Signer // of its own connections
}

// files gives each key its file below the data folder.
func (k *nodeKeys) files() map[string]*crypto.Signer {
	return map[string]*crypto.Signer{
		path.Join(gatewayDir, "statement.key"): &k.statement,
		path.Join(gatewayDir, "holder.key"):    &k.holder,
		path.Join(gatewayDir, "host.key"):      &k.host,
		path.Join(gatewayDir, "tls.key"):       &k.tls,
	}
}

func newNodeKeys(v vault) (nodeKeys, error) { return eachKey(v.newKey) }

func openNodeKeys(v vault) (nodeKeys, error) { return eachKey(v.key) }

func eachKey(get func(string) (crypto.Signer, error)) (nodeKeys, error) {
	var k nodeKeys
	for name, key := range k.files() {
		var err error
		if *key, err = get(name); err != nil {
			return nodeKeys{}, err
		}
	}
	return k, nil
}

// roster is how the gateway's machine statement lists the keys.
func (k nodeKeys) roster() ([]statement.MachineKey, error) {
	var keys []statement.MachineKey
	for _, one := range []struct {
		use  statement.MachineUse
		of   func(statement.MachineUse, crypto.PublicKey) (statement.MachineKey, error)
		from crypto.Signer
	}{
		{statement.KeyStatement, machineKey, k.statement},
		{statement.KeyHolder, sshKey, k.holder},
		{statement.KeyHost, sshKey, k.host},
		{statement.KeyTLS, machineKey, k.tls},
	} {
		key, err := one.of(one.use, one.from.Public())
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
