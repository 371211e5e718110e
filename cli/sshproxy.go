package cli

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/dial"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/statement"
)

const (
	sshProtocol = "brevet-ssh" // ALPN of SSH carried in TLS
	dialTimeout = 10 * time.Second
)

func (a *app) sshProxy() *cobra.Command {
	return &cobra.Command{
		Use:               "ssh-proxy HOST",
		Short:             "Carry one SSH connection to the gateway of a target (ssh runs this)",
		Example:           `  ssh -o ProxyCommand="brevet ssh-proxy %h" root@web1.brevet`,
		Hidden:            true,
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.proxy(cmd.Context(), args[0])
		},
	}
}

func (a *app) proxy(ctx context.Context, host string) error {
	target, ok := strings.CutSuffix(strings.ToLower(host), hostSuffix)
	if !ok {
		return brevet.Errorf(brevet.Invalid, "%s is not one of Brevet's hosts", brevet.Quote(host)).WithHint("they are called TARGET%s", hostSuffix)
	}
	if err := brevet.CheckName("target", target); err != nil {
		return err
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	conn, err := s.dialGateway(ctx, target)
	if err != nil {
		return err
	}
	defer conn.Close()
	return carry(ctx, conn, a.in, a.out)
}

// gateway is where the gateway of a target is.
type gateway struct {
	Machine brevet.MachineID `json:"machine"`
	Address string           `json:"address"`
}

// dialGateway connects to the gateway that serves the target: the one that did last time, else those that
// the server names.
func (s *session) dialGateway(ctx context.Context, target string) (*tls.Conn, error) {
	known := s.knownGateways()
	if g, ok := known[target]; ok {
		if conn, err := s.dialTLS(ctx, g, target); err == nil {
			return conn, nil
		}
	}
	gateways, err := s.gatewaysOf(ctx, target)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, g := range gateways {
		conn, err := s.dialTLS(ctx, g, target)
		if err != nil {
			failed = err
			continue
		}
		known[target] = g
		return conn, s.keepGateways(known)
	}
	return nil, failed
}

// gatewaysOf asks which gateways serve the target.
func (s *session) gatewaysOf(ctx context.Context, target string) ([]gateway, error) {
	got, err := s.requests.ListRoles(ctx, &brevetv1.ListRolesRequest{})
	if err != nil {
		return nil, err
	}
	var found []gateway
	var targets []string
	for _, r := range got.GetRoles() {
		targets = append(targets, r.GetTargets()...)
		for _, h := range r.GetHolders() {
			g := gateway{Machine: brevet.MachineID(h.GetMachine()), Address: h.GetAddress()}
			if slices.Contains(h.GetTargets(), target) && enrol.CheckAddress(g.Address) == nil && !slices.Contains(found, g) {
				found = append(found, g)
			}
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case slices.Contains(targets, target):
		return nil, brevet.Errorf(brevet.Unavailable, "no gateway serves %s now", target).WithHint("brevet doctor")
	}
	return nil, missing("target", target, targets, "brevet roles lists the targets that you may reach")
}

// gatewayConfig trusts a gateway whose certificate is for the name that was typed or for the gateway itself,
// and leads to the pinned authority, or is the very key that the roster has for the gateway: one that
// runs on its own has no certificate of the server's authority.
func (s *session) gatewayConfig(g gateway, target string) (*tls.Config, error) {
	pin, err := dial.ParsePin(s.profile.Pin)
	if err != nil {
		return nil, err
	}
	names := []string{target + hostSuffix, string(g.Machine)}
	config := dial.Config(pin, nil, names...)
	config.NextProtos = []string{sshProtocol}
	byAuthority := config.VerifyConnection
	config.VerifyConnection = func(c tls.ConnectionState) error {
		refused := byAuthority(c)
		if refused == nil {
			return nil
		}
		for _, own := range s.pinsOf(g.Machine) {
			if dial.Config(own, nil, names...).VerifyConnection(c) == nil {
				return nil
			}
		}
		return refused
	}
	return config, nil
}

// pinsOf returns the pins of the machine's own TLS keys, from the roster as this machine last verified it:
// a connection does not wait for a newer one. What cannot be verified gives none.
func (s *session) pinsOf(machine brevet.MachineID) []dial.Pin {
	known, err := readRoster(s.home)
	if err != nil {
		return nil
	}
	state, err := found(known, statement.ID(s.profile.Root))
	if err != nil {
		return nil
	}
	var pins []dial.Pin
	for _, k := range machineKeys(state, statement.MachineGateway, statement.KeyTLS)[machine] {
		public, err := k.Crypto()
		if err != nil {
			continue
		}
		if der, err := x509.MarshalPKIXPublicKey(public); err == nil {
			pins = append(pins, sha256.Sum256(der))
		}
	}
	return pins
}

// dialTLS connects to a gateway; SSH within then proves the host.
func (s *session) dialTLS(ctx context.Context, g gateway, target string) (*tls.Conn, error) {
	config, err := s.gatewayConfig(g, target)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{NetDialer: &net.Dialer{KeepAlive: 15 * time.Second}, Config: config}).DialContext(ctx, "tcp", g.Address)
	if err != nil {
		if own, ok := errors.AsType[*brevet.Error](err); ok {
			return nil, own
		}
		return nil, brevet.Errorf(brevet.Unavailable, "the gateway %s at %s cannot be reached", g.Machine, g.Address).Because(err).WithHint("brevet doctor")
	}
	return conn.(*tls.Conn), nil
}

// knownGateways reads what is kept. A damaged file is as good as none: it is only where to look first.
func (s *session) knownGateways() map[string]gateway {
	known := map[string]gateway{}
	b, err := s.home.Read(home.GatewaysFile)
	if err != nil || json.Unmarshal(b, &known) != nil {
		return map[string]gateway{}
	}
	for target, g := range known {
		if enrol.CheckAddress(g.Address) != nil {
			delete(known, target)
		}
	}
	return known
}

func (s *session) keepGateways(known map[string]gateway) error {
	b, err := json.Marshal(known)
	if err != nil {
		return brevet.Errorf(brevet.Internal, "cannot write the gateways").Because(err)
	}
	return s.home.Write(home.GatewaysFile, append(b, '\n'))
}

// carry copies both ways until the gateway has said all. That ssh closed its side is passed on, and
// what is still to come is waited for.
func carry(ctx context.Context, conn *tls.Conn, in io.Reader, out io.Writer) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	go func() { // ends with the process, or when ssh closes its side
		io.Copy(conn, in)
		conn.CloseWrite()
	}()
	if _, err := io.Copy(out, conn); err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		return brevet.Errorf(brevet.Unavailable, "the connection to the gateway broke").Because(err)
	}
	return ctx.Err()
}
