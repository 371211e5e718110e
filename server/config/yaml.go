package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/brevet-pim/brevet"
)

// maxSize bounds a file.
const maxSize = 1 << 20

func readFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, brevet.Errorf(brevet.NotFound, "there is no %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return text, nil
}

// decode reads strictly: a field that nobody knows is a mistake, and so is one that stands twice.
func decode[T any](text []byte) (T, error) {
	var c, none T
	if len(text) > maxSize {
		return none, brevet.Errorf(brevet.Invalid, "longer than %d bytes", maxSize)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return c, nil
	}
	if err := yaml.UnmarshalWithOptions(text, &c, yaml.DisallowUnknownField(), yaml.Strict()); err != nil {
		return none, brevet.Errorf(brevet.Invalid, "%s", yaml.FormatError(err, false, true)).Because(err)
	}
	return c, nil
}

func encode(comment string, c any) ([]byte, error) {
	b, err := yaml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	return append([]byte(comment), b...), nil
}

// inFile puts the file's name before what is wrong in it.
func inFile(path string, err error) error {
	if err == nil {
		return nil
	}
	message, hint := brevet.MessageOf(err)
	e := brevet.Errorf(brevet.Invalid, "%s: %s", path, message)
	if hint != "" {
		e = e.WithHint("%s", hint)
	}
	return e
}

// rule is one check: what to write, if what is there is wrong.
type rule struct {
	broken bool
	remedy string
}

// all reports every broken rule at once.
func all(rules ...rule) error {
	var wrong []string
	for _, r := range rules {
		if r.broken {
			wrong = append(wrong, r.remedy)
		}
	}
	if len(wrong) > 0 {
		return brevet.Errorf(brevet.Invalid, "%s", strings.Join(wrong, "; "))
	}
	return nil
}

const (
	addressRule = "write host:port that others can connect to, like brevet.example.org:7443"
	nameRule    = "lower-case letters, digits and . _ - only, at most 64"
	rootRule    = "the 64 hexadecimal digits that brevet init printed"
)

func isName(s string) bool { return brevet.CheckName("the", s) == nil }

func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && hex.EncodeToString(b) == s
}

// isListen reports whether s is an address to listen at. The host may be empty: all of them.
func isListen(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsAny(host, " \t\r\n") {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// isAddress reports whether s is an address to connect to.
func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || port == "0" || !isListen(s) {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || !ip.IsUnspecified()
}

func isReference(s string) bool {
	kind, what, found := strings.Cut(s, ":")
	return found && what != "" && (kind == "file" || kind == "env")
}
