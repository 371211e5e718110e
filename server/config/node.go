package config

import (
	"cmp"
	"path/filepath"

	"github.com/brevet-pim/brevet"
)

// Node is gateway.yaml: a gateway that runs as a process of its own.
type Node struct {
	// Name is the gateway's name in the roster.
	Name string `yaml:"name"`
	// Server is the control plane's address, host:port.
	Server string `yaml:"server"`
	// Root is the id of the organisation's first root statement, 64 hexadecimal digits.
	Root string `yaml:"root"`
	// Pin is the SHA-256 of the public key of the authority of the server's certificate.
	Pin string `yaml:"pin"`
	// Listen is the address for both spellings of ssh, host:port. Default 127.0.0.1:7022.
	Listen string `yaml:"listen,omitempty"`
	// Address is what people's machines connect to, if it is not Listen.
	Address string `yaml:"address,omitempty"`
	// SealKey is the file with the key that seals the gateway's keys. Default seal.key.
	SealKey string `yaml:"seal_key,omitempty"`
	// Log is what the process tells of itself.
	Log Log `yaml:"log,omitempty"`
}

// NodeName is the name of a gateway's file in its data folder.
const NodeName = "gateway.yaml"

// ReadNode reads the data folder's gateway.yaml, as Read does config.yaml.
func ReadNode(dir string) (Node, error) {
	path := filepath.Join(dir, NodeName)
	text, err := readFile(path)
	if brevet.KindOf(err) == brevet.NotFound {
		return Node{}, brevet.Errorf(brevet.NotFound, "%s has no %s", dir, NodeName).WithHint("brevet gateway init --data %s", dir)
	}
	if err != nil {
		return Node{}, err
	}
	n, err := ParseNode(text)
	return n, inFile(path, err)
}

// ParseNode reads the text of a gateway's configuration and fills in the defaults.
func ParseNode(text []byte) (Node, error) {
	n, err := decode[Node](text)
	if err != nil {
		return Node{}, err
	}
	n.Listen = cmp.Or(n.Listen, DefaultGatewayListen)
	n.Address = cmp.Or(n.Address, n.Listen)
	n.SealKey = cmp.Or(n.SealKey, DefaultSealKey)
	n.Log.fill()
	return n, n.validate()
}

// Text returns the text of the configuration, as gateway init writes it.
func (n Node) Text() ([]byte, error) {
	return encode("# A Brevet gateway. docs/reference/config.md has every field.\n", n)
}

func (n Node) validate() error {
	return all(
		rule{!isName(n.Name), "name: " + nameRule},
		rule{!isAddress(n.Server), "server: " + addressRule},
		rule{!isDigest(n.Root), "root: " + rootRule},
		rule{!isDigest(n.Pin), "pin: the 64 hexadecimal digits that brevet machines shows"},
		rule{!isListen(n.Listen), "listen: write host:port, like 127.0.0.1:7022"},
		rule{!isAddress(n.Address), "address: " + addressRule},
		n.Log.rule(),
		n.Log.formatRule(),
	)
}
