package brevet

// TargetKind is the kind of system that a target is.
type TargetKind string

// SSHHost is a host reached by SSH.
const SSHHost TargetKind = "ssh"

// Sensitivity says how much harm a privilege or a target can do, from low to critical.
type Sensitivity string

// The sensitivities.
const (
	Low      Sensitivity = "low"
	Medium   Sensitivity = "medium"
	High     Sensitivity = "high"
	Critical Sensitivity = "critical"
)

// AtLeast reports whether s is as sensitive as t. What is not one of the four counts as critical.
func (s Sensitivity) AtLeast(t Sensitivity) bool { return s.rank() >= t.rank() }

func (s Sensitivity) rank() int {
	switch s {
	case Low:
		return 0
	case Medium:
		return 1
	case High:
		return 2
	}
	return 3
}

// Target is a system with privilege in it.
type Target struct {
	ID          TargetID          `json:"name"`
	Kind        TargetKind        `json:"kind"`
	Address     string            `json:"address"` // host:port that a gateway dials
	Labels      map[string]string `json:"labels"`
	Sensitivity Sensitivity       `json:"sensitivity"`
	Owner       string            `json:"owner"` // person:NAME or group:NAME
	// HostKeys pin the target's SSH host keys and HostCAs the authorities that sign them
	// (authorized_keys form). One of them must match; neither means no connection.
	HostKeys []string `json:"host_keys"`
	HostCAs  []string `json:"host_cas"`
}

// Selector chooses targets: of the kind, with all the labels, and among the names if any are given.
type Selector struct {
	Kind   TargetKind        `json:"kind"`
	Labels map[string]string `json:"labels"`
	Names  []TargetID        `json:"names"`
}

// Matches reports whether the selector chooses t.
func (s Selector) Matches(t Target) bool {
	if s.Kind != t.Kind {
		return false
	}
	for k, v := range s.Labels {
		if got, ok := t.Labels[k]; !ok || got != v {
			return false
		}
	}
	if len(s.Names) == 0 {
		return true
	}
	for _, name := range s.Names {
		if name == t.ID {
			return true
		}
	}
	return false
}
