// Package config is the one file of a process in its data folder: config.yaml of a server,
// gateway.yaml of a gateway that runs by itself. It says where the process listens, where it
// keeps things, and which files hold its keys. Everything else is data, applied through the API.
package config

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/brevet-pim/brevet"
)

// Config is config.yaml. Every field but the organisation has a useful zero value; relative
// paths are relative to the data folder.
type Config struct {
	// Organisation is what brevet init founded. Nothing in the database can change it.
	Organisation Organisation `yaml:"organisation"`
	// Listen is the address of the API, host:port. Default 127.0.0.1:7443.
	Listen string `yaml:"listen,omitempty"`
	// Address is what people's machines connect to, if it is not Listen.
	Address string `yaml:"address,omitempty"`
	// Database is where the store is: empty for SQLite in the data folder, or a reference to a
	// PostgreSQL URL: file:PATH or env:NAME, since it may hold a password.
	Database string `yaml:"database,omitempty"`
	// SealKey is the file with the key that seals what is kept at rest. Default seal.key.
	SealKey string `yaml:"seal_key,omitempty"`
	// TLS names a certificate of the operator's own; without, Brevet's authority makes one.
	TLS TLS `yaml:"tls,omitempty"`
	// Gateway is the gateway that runs in the server's process.
	Gateway Gateway `yaml:"gateway,omitempty"`
	// KeepDays is for how many days the events of the audit log keep their bodies, 30 at least; 0 is
	// for ever. Their leaves stay, so the log still verifies.
	KeepDays int `yaml:"keep_days,omitempty"`
	// Log is what the process tells of itself. It is not the audit log.
	Log Log `yaml:"log,omitempty"`
}

// Organisation pins what everything else is verified from.
type Organisation struct {
	// Root is the id of the organisation's first root statement, 64 hexadecimal digits.
	Root string `yaml:"root"`
	// Log is the name of its audit log, which every checkpoint carries.
	Log string `yaml:"log"`
}

// TLS names PEM files.
type TLS struct {
	Certificate string `yaml:"certificate,omitempty"`
	Key         string `yaml:"key,omitempty"`
}

// Gateway is the gateway in the server's process.
type Gateway struct {
	// Off leaves the gateway to a process of its own: brevet gateway.
	Off bool `yaml:"off,omitempty"`
	// Name is the gateway's name in the roster. Default gw-1.
	Name string `yaml:"name,omitempty"`
	// Listen is the address for both spellings of ssh, host:port. Default 127.0.0.1:7022.
	Listen string `yaml:"listen,omitempty"`
	// Address is what people's machines connect to, if it is not Listen.
	Address string `yaml:"address,omitempty"`
}

// The defaults.
const (
	DefaultListen        = "127.0.0.1:7443"
	DefaultGatewayListen = "127.0.0.1:7022"
	DefaultGatewayName   = "gw-1"
	DefaultSealKey       = "seal.key"
)

// Bounds of keep_days. What is live rests on events that are younger than the least.
const (
	leastDays = 30
	mostDays  = 36500
)

// Name is the file's name in the data folder.
const Name = "config.yaml"

// Read reads the data folder's config.yaml. Unknown fields and wrong values are Invalid
// errors that name the line or the field, all of them at once.
func Read(dir string) (Config, error) {
	path := filepath.Join(dir, Name)
	text, err := readFile(path)
	if brevet.KindOf(err) == brevet.NotFound {
		return Config{}, brevet.Errorf(brevet.NotFound, "%s has no %s", dir, Name).WithHint("brevet init --data %s", dir)
	}
	if err != nil {
		return Config{}, err
	}
	c, err := Parse(text)
	return c, inFile(path, err)
}

// Parse reads the text of a configuration and fills in the defaults.
func Parse(text []byte) (Config, error) {
	c, err := decode[Config](text)
	if err != nil {
		return Config{}, err
	}
	c.Listen = cmp.Or(c.Listen, DefaultListen)
	c.Address = cmp.Or(c.Address, c.Listen)
	c.SealKey = cmp.Or(c.SealKey, DefaultSealKey)
	c.Gateway.Name = cmp.Or(c.Gateway.Name, DefaultGatewayName)
	c.Gateway.Listen = cmp.Or(c.Gateway.Listen, DefaultGatewayListen)
	c.Gateway.Address = cmp.Or(c.Gateway.Address, c.Gateway.Listen)
	c.Log.fill()
	return c, c.validate()
}

// Text returns the text of the configuration, as init writes it.
func (c Config) Text() ([]byte, error) {
	return encode("# Brevet's server. brevet config check says whether it can be used; docs/reference/config.md has every field.\n", c)
}

func (c Config) validate() error {
	return all(
		rule{!isDigest(c.Organisation.Root), "organisation.root: " + rootRule},
		rule{c.Organisation.Log == "", "organisation.log: the name of the audit log, as brevet init wrote it"},
		rule{!isName(c.Gateway.Name), "gateway.name: " + nameRule},
		rule{!isListen(c.Listen), "listen: write host:port, like 127.0.0.1:7443"},
		rule{!isAddress(c.Address), "address: " + addressRule},
		rule{!isListen(c.Gateway.Listen), "gateway.listen: write host:port, like 127.0.0.1:7022"},
		rule{!isAddress(c.Gateway.Address), "gateway.address: " + addressRule},
		rule{c.KeepDays != 0 && c.KeepDays < leastDays || c.KeepDays > mostDays, "keep_days: from 30 to 36500, or 0 for ever"},
		rule{(c.TLS.Certificate == "") != (c.TLS.Key == ""), "tls: give both certificate and key, or neither"},
		rule{c.Database != "" && !isReference(c.Database), "database: write file:PATH or env:NAME of the URL, never the URL itself (it may hold a password)"},
		c.Log.rule(),
		c.Log.formatRule(),
	)
}

// DatabaseURL follows the reference in Database. Empty means SQLite.
func (c Config) DatabaseURL(dir string) (string, error) {
	name, isEnv := strings.CutPrefix(c.Database, "env:")
	path, isFile := strings.CutPrefix(c.Database, "file:")
	var text string
	switch {
	case c.Database == "":
		return "", nil
	case isEnv:
		text = os.Getenv(name)
	case isFile:
		b, err := os.ReadFile(Path(dir, path))
		if err != nil {
			return "", fmt.Errorf("read the database URL: %w", err)
		}
		text = string(b)
	}
	text = strings.TrimSpace(text)
	// The text is not shown: whatever it is, it may hold a password.
	if u, err := url.Parse(text); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", brevet.Errorf(brevet.Invalid, "database: %s does not hold a URL like postgres://…", c.Database)
	}
	return text, nil
}

// Path returns a path of the configuration: relative ones are relative to the data folder.
func Path(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
