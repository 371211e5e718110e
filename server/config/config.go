// Package config is the server's one file, config.yaml in its data folder: where it
// listens, where it keeps things, and which files hold its keys. Everything else is data,
// applied through the API.
package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/brevet-pim/brevet"
)

// Config is config.yaml. Every field has a useful zero value; relative paths are relative
// to the data folder.
type Config struct {
	// Listen is the address of the API, host:port. Default 127.0.0.1:7443.
	Listen string `yaml:"listen"`
	// Address is what people's machines connect to, if it is not Listen.
	Address string `yaml:"address"`
	// Database is where the store is: empty for SQLite in the data folder, or a reference to a
	// PostgreSQL URL: file:PATH or env:NAME, since it may hold a password.
	Database string `yaml:"database"`
	// SealKey is the file with the key that seals what is kept at rest. Default seal.key.
	SealKey string `yaml:"seal_key"`
	// TLS names a certificate of the operator's own; without, Brevet's authority makes one.
	TLS TLS `yaml:"tls"`
	// Gateway is the gateway that runs in the server's process.
	Gateway Gateway `yaml:"gateway"`
	// LogLevel is debug, info, warn or error. Default info.
	LogLevel string `yaml:"log_level"`
}

// TLS names PEM files.
type TLS struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// Gateway is how a gateway listens.
type Gateway struct {
	// Off leaves the gateway to a process of its own: brevet gateway.
	Off bool `yaml:"off"`
	// Listen is the address for both spellings of ssh, host:port. Default 127.0.0.1:7022.
	Listen string `yaml:"listen"`
	// Address is what people's machines connect to, if it is not Listen.
	Address string `yaml:"address"`
	// Addresses are the ranges that targets see the gateway connect from; certificates are
	// bound to them. Default: loopback, and this machine's own addresses.
	Addresses []string `yaml:"addresses"`
}

// The default addresses.
const (
	DefaultListen        = "127.0.0.1:7443"
	DefaultGatewayListen = "127.0.0.1:7022"
)

// Name is the file's name in the data folder.
const Name = "config.yaml"

// maxSize bounds the file.
const maxSize = 1 << 20

// Read reads the data folder's config.yaml. Unknown fields and wrong values are Invalid
// errors that name the line or the field, all of them at once.
func Read(dir string) (Config, error) {
	path := filepath.Join(dir, Name)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Config{}, brevet.Errorf(brevet.NotFound, "%s has no %s", dir, Name).WithHint("brevet init --data %s", dir)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	c, err := Parse(text)
	if err != nil {
		message, hint := brevet.MessageOf(err)
		return Config{}, brevet.Errorf(brevet.Invalid, "%s: %s", path, message).WithHint("%s", hint)
	}
	return c, nil
}

// Parse reads the text of a configuration and fills in the defaults.
func Parse(text []byte) (Config, error) {
	if len(text) > maxSize {
		return Config{}, brevet.Errorf(brevet.Invalid, "longer than %d bytes", maxSize)
	}
	var c Config
	if len(bytes.TrimSpace(text)) > 0 {
		if err := yaml.UnmarshalWithOptions(text, &c, yaml.DisallowUnknownField(), yaml.Strict()); err != nil {
			return Config{}, brevet.Errorf(brevet.Invalid, "%s", yaml.FormatError(err, false, true)).Because(err)
		}
	}
	c.Listen = cmp.Or(c.Listen, DefaultListen)
	c.Address = cmp.Or(c.Address, c.Listen)
	c.SealKey = cmp.Or(c.SealKey, "seal.key")
	c.LogLevel = cmp.Or(c.LogLevel, "info")
	c.Gateway.Listen = cmp.Or(c.Gateway.Listen, DefaultGatewayListen)
	c.Gateway.Address = cmp.Or(c.Gateway.Address, c.Gateway.Listen)
	return c, c.validate()
}

// validate reports every mistake at once.
func (c Config) validate() error {
	checks := []struct {
		bad     bool
		message string
	}{
		{notAddress(c.Listen), "listen: write host:port, like 127.0.0.1:7443"},
		{notAddress(c.Address), "address: write host:port"},
		{notAddress(c.Gateway.Listen), "gateway.listen: write host:port, like 127.0.0.1:7022"},
		{notAddress(c.Gateway.Address), "gateway.address: write host:port"},
		{(c.TLS.Certificate == "") != (c.TLS.Key == ""), "tls: give both certificate and key, or neither"},
		{c.Database != "" && !reference(c.Database), "database: write file:PATH or env:NAME of the URL, never the URL itself (it may hold a password)"},
		{!strings.Contains(" debug info warn error ", " "+c.LogLevel+" "), "log_level: one of debug, info, warn, error"},
	}
	var wrong []string
	for _, check := range checks {
		if check.bad {
			wrong = append(wrong, check.message)
		}
	}
	for _, r := range c.Gateway.Addresses {
		if _, err := netip.ParsePrefix(r); err != nil {
			wrong = append(wrong, fmt.Sprintf("gateway.addresses: %s is not a range like 10.1.0.0/16", brevet.Quote(r)))
		}
	}
	if len(wrong) > 0 {
		return brevet.Errorf(brevet.Invalid, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

func notAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err != nil || port == "" || strings.ContainsAny(host, " \t\r\n")
}

func reference(s string) bool {
	return strings.HasPrefix(s, "file:") && len(s) > len("file:") || strings.HasPrefix(s, "env:") && len(s) > len("env:")
}

// DatabaseURL follows the reference in Database. Empty means SQLite.
func (c Config) DatabaseURL() (string, error) {
	name, isEnv := strings.CutPrefix(c.Database, "env:")
	path, isFile := strings.CutPrefix(c.Database, "file:")
	var text string
	switch {
	case c.Database == "":
		return "", nil
	case isEnv:
		text = os.Getenv(name)
	case isFile:
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read the database URL: %w", err)
		}
		text = string(b)
	}
	text = strings.TrimSpace(text)
	if u, err := url.Parse(text); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", brevet.Errorf(brevet.Invalid, "database: %s does not hold a URL like postgres://…", c.Database)
	}
	return text, nil
}
