package cli

import (
	"context"
	"encoding/hex"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/home"
	"github.com/brevet-pim/brevet/identity/enrol"
	"github.com/brevet-pim/brevet/statement"
)

func (a *app) login() *cobra.Command {
	var key string
	var newKey, noWait bool
	cmd := &cobra.Command{
		Use:   "login [CODE]",
		Short: "Sign in; the first time with the code that an administrator gave you",
		Long: `Sign in. The first time, give the one-time code that an administrator made with brevet people invite:
it tells this machine which server and which root to trust. Your key then shows that you have it, and
an administrator signs that it is yours. Later, brevet login alone signs in again; other commands do
so by themselves. A code given as - or not at all is asked for, so that it is in no shell history.`,
		Example: `  brevet login brevet1-mfrgg2lt…
  brevet login - --key ~/.ssh/id_ed25519_sk
  brevet login                          sign in again`,
		Args:              arguments(0, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if newKey && key != "" {
				return usage(cmd, "--key and --new-key exclude each other")
			}
			code, err := a.codeToUse(cmd.Context(), args)
			if err != nil {
				return err
			}
			if code != nil {
				if err := a.enrol(cmd.Context(), *code, key, newKey, noWait); err != nil || noWait {
					return err
				}
			}
			return a.signInNow(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "private key file, or SHA256:… of a key in the agent (else the agent's only key, else ~/.ssh/id_*)")
	cmd.Flags().BoolVar(&newKey, "new-key", false, "make a new Ed25519 key in Brevet's folder")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait for an administrator to sign")
	return cmd
}

// codeToUse returns the code of the command line, or asks for one if there is no profile yet.
func (a *app) codeToUse(ctx context.Context, args []string) (*enrol.Code, error) {
	text := "-"
	if len(args) > 0 {
		text = args[0]
	} else if h, err := a.folder(); err != nil {
		return nil, err
	} else if _, err := h.Profile(); brevet.KindOf(err) != brevet.NotFound {
		return nil, err // nil if there is a profile: sign in again
	}
	if text == "-" {
		var err error
		if text, err = a.ask(ctx, "Code (from brevet people invite): "); err != nil {
			return nil, err
		}
	}
	code, err := enrol.ParseCode(text)
	return &code, err
}

// enrol answers an invitation: it writes the profile, shows that the person has the key, and waits
// until an administrator has signed.
func (a *app) enrol(ctx context.Context, code enrol.Code, key string, newKey, noWait bool) error {
	h, err := a.folder()
	if err != nil {
		return err
	}
	profile := home.Profile{Server: code.Address, Root: hex.EncodeToString(code.Root[:]), Pin: hex.EncodeToString(code.Pin[:]), Person: code.Person}
	if err := a.keepsOther(h, profile); err != nil {
		return err
	}
	client, err := unsigned(profile.Server, profile.Pin, nil)
	if err != nil {
		return err
	}
	server, err := client.auth.GetServer(ctx, &brevetv1.GetServerRequest{})
	if err != nil {
		return err
	}
	if server.GetRoot() != profile.Root {
		return brevet.Errorf(brevet.Refused, "the server belongs to another organisation than the code").
			WithHint("ask an administrator for a new code")
	}
	signer, err := a.keyToEnrol(ctx, h, &profile, key, newKey)
	if err != nil {
		return err
	}
	message, err := possession(ctx, code, profile, signer)
	if err != nil {
		return err
	}
	answered, err := client.auth.AnswerInvitation(ctx, message)
	if err != nil {
		return err
	}
	if err := h.SetProfile(profile); err != nil {
		return err
	}
	return a.awaitEnrolment(ctx, client, profile, signer, message, answered, noWait)
}

// keepsOther refuses to replace the profile of another person or organisation.
func (a *app) keepsOther(h *home.Home, next home.Profile) error {
	old, err := h.Profile()
	if err != nil || old.Person == next.Person && old.Root == next.Root {
		return nil
	}
	return brevet.Errorf(brevet.Conflict, "this folder is signed in as %s at %s", old.Person, old.Server).
		WithHint("use another folder: BREVET_HOME=~/.config/brevet-%s brevet login CODE; or forget this one: brevet logout --forget", next.Person)
}

// keyToEnrol finds or makes the key, and names it in the profile.
func (a *app) keyToEnrol(ctx context.Context, h *home.Home, p *home.Profile, key string, newKey bool) (statement.Signer, error) {
	var err error
	if key == "" && !newKey {
		if key, err = a.chooseKey(ctx); err != nil {
			return nil, err
		}
		if key == "" {
			if newKey, err = a.confirm(ctx, "You have no SSH key. Make one for Brevet?"); err != nil || !newKey {
				return nil, brevet.Errorf(brevet.NotFound, "there is no key to enrol").WithHint("make one: brevet login CODE --new-key; or name one: --key FILE")
			}
		}
	}
	if newKey {
		a.signer, p.Key, err = a.makeKey(ctx, h, p.Person)
		return a.signer, err
	}
	if !strings.HasPrefix(key, agentPrefix) {
		if key, err = filepath.Abs(key); err != nil {
			return nil, err
		}
	}
	p.Key = key
	a.signer, err = a.openKey(ctx, key, a.getenv("SSH_AUTH_SOCK"))
	return a.signer, err
}

// makeKey makes a key in Brevet's folder, unless there is one.
func (a *app) makeKey(ctx context.Context, h *home.Home, person brevet.PersonID) (statement.Signer, string, error) {
	if _, err := h.Read(NewKeyFile); brevet.KindOf(err) != brevet.NotFound {
		return nil, "", brevet.Errorf(brevet.Conflict, "there is a key in %s already", brevet.Quote(h.Path(NewKeyFile))).
			WithHint("use it: --key %s", h.Path(NewKeyFile))
	}
	return NewKey(ctx, h, person, a.in, a.err)
}

// possession shows that the person has the key and wants it enrolled in answer to this code.
func possession(ctx context.Context, code enrol.Code, p home.Profile, signer statement.Signer) (*brevetv1.AnswerInvitationRequest, error) {
	proof, err := statement.Possession{
		Org: statement.ID(p.Root), Person: p.Person, Key: signer.Key(), Code: code.Secret.Digest(),
	}.Prove(ctx, signer)
	if err != nil {
		return nil, err
	}
	return &brevetv1.AnswerInvitationRequest{
		Code: code.Secret.Reveal(), Person: string(p.Person), PublicKey: signer.Key().Public, Possession: proof,
	}, nil
}

const stateEnrolled = "enrolled"

// awaitEnrolment waits for an administrator. Answering again with the same key asks how it stands.
func (a *app) awaitEnrolment(ctx context.Context, client *api, p home.Profile, signer statement.Signer, message *brevetv1.AnswerInvitationRequest, answered *brevetv1.AnswerInvitationResponse, noWait bool) error {
	fingerprint, err := statement.Fingerprint(signer.Key())
	if err != nil {
		return err
	}
	if answered.GetState() == stateEnrolled {
		return nil
	}
	a.tell("Your key is %s", fingerprint)
	a.tell("An administrator signs that it is yours: brevet people sign %s    (tell them the key, so that they can compare)", p.Person)
	if noWait {
		a.tell("Then sign in with: brevet login")
		return nil
	}
	a.tell("Waiting …")
	for answered.GetState() != stateEnrolled {
		if err := pause(ctx, retryAfter); err != nil {
			return err
		}
		now, err := client.auth.AnswerInvitation(ctx, message)
		switch kind := brevet.KindOf(err); {
		case err == nil:
			answered = now
		case kind != brevet.Unavailable && kind != brevet.Limited: // these pass
			return err
		}
	}
	return nil
}

// signInNow signs in whether or not there is a sign-in that is good.
func (a *app) signInNow(ctx context.Context) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	s.mu.Lock()
	err = s.signIn(ctx)
	until := s.until
	s.mu.Unlock()
	if err != nil {
		return err
	}
	a.tell("Signed in as %s at %s for %s. brevet roles shows what you may have.", s.profile.Person, s.server, a.clock().Left(until))
	return nil
}

func (a *app) logout() *cobra.Command {
	var forget bool
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "Sign out: the token is revoked and forgotten",
		Example: `  brevet logout
  brevet logout --forget        also forget the server, the root and which key is yours`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := a.folder()
			if err != nil {
				return err
			}
			had, told := a.signOut(cmd.Context(), h)
			if err := h.ForgetSignIn(); err != nil {
				return err
			}
			if forget {
				if err := h.Forget(); err != nil {
					return err
				}
			}
			a.tellSignedOut(h, had, told == nil, forget)
			return told
		},
	}
	cmd.Flags().BoolVar(&forget, "forget", false, "also forget the server, the root and which key is yours (keys stay)")
	return cmd
}

// signOut tells the server, if there is something to tell: nobody signs in to sign out.
func (a *app) signOut(ctx context.Context, h *home.Home) (had bool, err error) {
	kept, err := h.SignIn()
	if err != nil {
		return false, nil
	}
	s, err := a.connect()
	if err != nil {
		return true, err
	}
	s.server = kept.Server
	_, err = s.auth.SignOut(ctx, &brevetv1.SignOutRequest{})
	return true, err
}

// tellSignedOut says what was done, and what the next command will do: being signed out keeps nobody out who has
// the key.
func (a *app) tellSignedOut(h *home.Home, had, told, forgot bool) {
	switch {
	case !had:
		a.tell("You were not signed in.")
	case told:
		a.tell("Signed out: the token is revoked and forgotten.")
	default:
		a.tell("The token is forgotten here. The server could not be told, so there it is good until its end.")
	}
	if forgot {
		a.tell("The server, the root and which key is yours are forgotten; the keys stay. To come back: brevet login CODE")
	} else if _, err := h.Profile(); err == nil {
		a.tell("The next command signs in again, with your key.")
	}
}
