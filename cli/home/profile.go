package home

import (
	"bytes"
	"encoding/hex"

	"github.com/goccy/go-yaml"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/identity/enrol"
)

const profileFile = "profile.yaml"

// Files that hold what this machine has seen and verified of the profile's organisation.
const (
	RosterFile     = "roster"        // roster statements, one envelope a line
	GatewaysFile   = "gateways.json" // where the gateways of targets are
	CheckpointFile = "checkpoint"    // the newest checkpoint of the log that was verified
	KnownHostsFile = "known_hosts"   // the authority of the gateways' SSH host certificates
	PublicKeyFile  = "identity.pub"  // the person's public key, for ssh's IdentityFile
	SSHConfigFile  = "ssh_config"    // what brevet ssh-config --install includes
)

// Profile is what a machine must know to speak for one person with one server.
type Profile struct {
	Server string          `yaml:"server"`          // host:port
	Root   string          `yaml:"root"`            // id of the organisation's first root statement, hex
	Pin    string          `yaml:"pin"`             // SHA-256, hex, of the SubjectPublicKeyInfo of the server's authority
	Person brevet.PersonID `yaml:"person"`          // whom it is for
	Key    string          `yaml:"key"`             // file of the private key, or fingerprint (SHA256:…) of one in the agent
	Agent  string          `yaml:"agent,omitempty"` // socket of the agent that holds the key; empty: SSH_AUTH_SOCK
}

// Validate returns an Invalid error that names what is wrong.
func (p Profile) Validate() error {
	if err := enrol.CheckAddress(p.Server); err != nil {
		return err
	}
	if err := checkDigest("root", p.Root); err != nil {
		return err
	}
	if err := checkDigest("pin", p.Pin); err != nil {
		return err
	}
	if err := brevet.CheckName("person", string(p.Person)); err != nil {
		return err
	}
	if p.Key == "" {
		return brevet.Errorf(brevet.Invalid, "the profile names no key")
	}
	return nil
}

func checkDigest(what, s string) error {
	if b, err := hex.DecodeString(s); err != nil || len(b) != 32 || hex.EncodeToString(b) != s {
		return brevet.Errorf(brevet.Invalid, "%s %s is not a SHA-256 in lower-case hex", what, brevet.Quote(s[:min(len(s), 80)]))
	}
	return nil
}

// Profile reads the profile. The error is NotFound if nobody has signed in here yet.
func (h *Home) Profile() (Profile, error) {
	b, err := h.Read(profileFile)
	if brevet.KindOf(err) == brevet.NotFound {
		return Profile{}, brevet.Errorf(brevet.NotFound, "nobody is signed in here (%s)", brevet.Quote(h.dir)).
			WithHint("brevet login CODE, with the code that an administrator gave you")
	}
	if err != nil {
		return Profile{}, err
	}
	var p Profile
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&p); err != nil {
		return Profile{}, h.badProfile().Because(err)
	}
	if err := p.Validate(); err != nil {
		return Profile{}, h.badProfile().Because(err)
	}
	return p, nil
}

func (h *Home) badProfile() *brevet.Error {
	return brevet.Errorf(brevet.Invalid, "%s is damaged", brevet.Quote(h.Path(profileFile))).
		WithHint("repair it, or ask an administrator for a new code and run brevet login CODE")
}

// SetProfile writes the profile.
func (h *Home) SetProfile(p Profile) error {
	if err := p.Validate(); err != nil {
		return err
	}
	b, err := yaml.Marshal(p)
	if err != nil {
		return brevet.Errorf(brevet.Internal, "cannot write the profile").Because(err)
	}
	return h.Write(profileFile, b)
}

// Forget removes the profile and what was verified with it. Keys stay.
func (h *Home) Forget() error {
	for _, name := range []string{profileFile, RosterFile, GatewaysFile, CheckpointFile} {
		if err := h.Remove(name); err != nil {
			return err
		}
	}
	return nil
}
