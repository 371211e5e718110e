package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
	"github.com/brevet-pim/brevet/statement"
)

// What the shell completes from the server: only while there is a sign-in that is good, since a
// completion that asks for a passphrase or a touch would surprise. Whatever fails completes nothing.

// completeTimeout is how long a shell may hang on the Tab key.
const completeTimeout = 2 * time.Second

// completer is the form of cobra's ValidArgsFunction.
type completer = func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective)

// completing makes a completer of a function that lists choices.
func (a *app) completing(list func(ctx context.Context, s *session, given []string) ([]cobra.Completion, error)) completer {
	return func(cmd *cobra.Command, given []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		parent := cmd.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completeTimeout)
		defer cancel()
		s, err := a.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		s.signer = nobodySigns
		choices, err := list(ctx, s, given)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return fitting(choices, given, typed), cobra.ShellCompDirectiveNoFileComp
	}
}

func nobodySigns(context.Context) (statement.Signer, error) {
	return nil, brevet.Errorf(brevet.Unauthenticated, "not signed in")
}

// fitting keeps the choices that go on from what was typed and were not given yet. A choice is a word
// and perhaps, behind a tab, what it is; both are of the server's making, so that words which no
// shell would take as they are go.
func fitting(choices []cobra.Completion, given []string, typed string) []cobra.Completion {
	var left []cobra.Completion
	for _, c := range choices {
		word, about, _ := strings.Cut(c, "\t")
		if !strings.HasPrefix(word, typed) || slices.Contains(given, word) || strings.ContainsFunc(word, notInWord) {
			continue
		}
		left = append(left, cobra.CompletionWithDesc(word, show.Text(about)))
	}
	return left
}

func notInWord(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-.@:/+", r))
}

// completeRequests completes requests of the query that are not decided.
func (a *app) completeRequests(query *brevetv1.ListRequestsRequest) completer {
	return a.completing(func(ctx context.Context, s *session, _ []string) ([]cobra.Completion, error) {
		got, err := s.requests.ListRequests(ctx, &brevetv1.ListRequestsRequest{ForMe: query.GetForMe(), Mine: query.GetMine(), States: openStates(query), PageSize: pageSize})
		var choices []cobra.Completion
		for _, r := range got.GetRequests() {
			choices = append(choices, short(r.GetId())+"\t"+r.GetPerson()+": "+what(r))
		}
		return choices, err
	})
}

// openStates are the states that a completion offers: of requests to answer or to cancel, those that
// are open; of a story, all.
func openStates(query *brevetv1.ListRequestsRequest) []string {
	if query.GetForMe() || query.GetMine() {
		return open()
	}
	return nil
}

// completeGrants completes grants in one of the states, or in any if none is named.
func (a *app) completeGrants(states ...string) completer {
	return a.completing(func(ctx context.Context, s *session, _ []string) ([]cobra.Completion, error) {
		got, err := s.grants.ListGrants(ctx, &brevetv1.ListGrantsRequest{States: states, PageSize: pageSize})
		var choices []cobra.Completion
		for _, g := range got.GetGrants() {
			choices = append(choices, short(g.GetId())+"\t"+g.GetPerson()+": "+g.GetRole()+", "+g.GetState())
		}
		return choices, err
	})
}

func (a *app) completeSessions() completer {
	return a.completing(func(ctx context.Context, s *session, _ []string) ([]cobra.Completion, error) {
		got, err := s.sessions.ListSessions(ctx, &brevetv1.ListSessionsRequest{PageSize: pageSize})
		var choices []cobra.Completion
		for _, one := range got.GetSessions() {
			choices = append(choices, short(one.GetId())+"\t"+one.GetPerson()+" on "+one.GetTarget()+": "+doing(one))
		}
		return choices, err
	})
}

func (a *app) completePeople() completer {
	return a.completing(func(ctx context.Context, s *session, _ []string) ([]cobra.Completion, error) {
		got, err := s.people.ListPeople(ctx, &brevetv1.ListPeopleRequest{})
		var choices []cobra.Completion
		for _, p := range got.GetPeople() {
			choices = append(choices, p.GetId())
		}
		return choices, err
	})
}

// completeKeys completes fingerprints of keys that are not retired.
func (a *app) completeKeys() completer {
	return a.completing(func(ctx context.Context, s *session, _ []string) ([]cobra.Completion, error) {
		got, err := s.people.ListPeople(ctx, &brevetv1.ListPeopleRequest{})
		var choices []cobra.Completion
		for _, p := range got.GetPeople() {
			for _, k := range p.GetKeys() {
				if !k.GetRetired() {
					choices = append(choices, k.GetFingerprint()+"\t"+p.GetId())
				}
			}
		}
		return choices, err
	})
}

func (a *app) completeGateways() completer {
	return a.completing(func(ctx context.Context, s *session, _ []string) ([]cobra.Completion, error) {
		got, err := s.people.ListMachines(ctx, &brevetv1.ListMachinesRequest{})
		var choices []cobra.Completion
		for _, m := range got.GetMachines() {
			if m.GetUse() == string(statement.MachineGateway) {
				choices = append(choices, m.GetId())
			}
		}
		return choices, err
	})
}

// completeAsked completes what the request that was typed asks for, to agree to less of it.
func (a *app) completeAsked(what func(*brevetv1.Request) []string) completer {
	return a.completing(func(ctx context.Context, s *session, given []string) ([]cobra.Completion, error) {
		if len(given) == 0 {
			return nil, nil
		}
		r, err := s.requestOf(ctx, given[0])
		return what(r), err
	})
}

// completeLogins completes logins of the role that was typed.
func (a *app) completeLogins() completer {
	return a.completing(func(ctx context.Context, s *session, given []string) ([]cobra.Completion, error) {
		if len(given) == 0 {
			return nil, nil
		}
		r, err := s.role(ctx, given[0])
		return r.GetLogins(), err
	})
}

// completeTargets completes the targets of all roles.
func (a *app) completeTargets() completer {
	return a.completing(func(ctx context.Context, s *session, _ []string) ([]cobra.Completion, error) {
		got, err := s.requests.ListRoles(ctx, &brevetv1.ListRolesRequest{})
		var choices []cobra.Completion
		for _, r := range got.GetRoles() {
			choices = append(choices, r.GetTargets()...)
		}
		slices.Sort(choices)
		return slices.Compact(choices), err
	})
}

// completeQuestion completes a person, and behind them what request does.
func (a *app) completeQuestion() completer {
	person, wish := a.completePeople(), a.completeWish()
	return func(cmd *cobra.Command, given []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(given) == 0 {
			return person(cmd, given, typed)
		}
		return wish(cmd, given[1:], typed)
	}
}

// completeWish completes a role, and behind it the role's targets.
func (a *app) completeWish() completer {
	return a.completing(func(ctx context.Context, s *session, given []string) ([]cobra.Completion, error) {
		got, err := s.requests.ListRoles(ctx, &brevetv1.ListRolesRequest{})
		var choices []cobra.Completion
		for _, r := range got.GetRoles() {
			switch {
			case len(given) == 0:
				choices = append(choices, r.GetName()+"\t"+r.GetNeeds())
			case r.GetName() == given[0]:
				choices = append(choices, r.GetTargets()...)
			}
		}
		return choices, err
	})
}

// completeHost completes LOGIN@TARGET; what follows is ssh's.
func (a *app) completeHost() completer {
	hosts := a.completing(func(ctx context.Context, s *session, _ []string) ([]cobra.Completion, error) {
		got, err := s.requests.ListRoles(ctx, &brevetv1.ListRolesRequest{})
		var choices []cobra.Completion
		for _, r := range got.GetRoles() {
			for _, target := range r.GetTargets() {
				for _, login := range r.GetLogins() {
					choices = append(choices, login+"@"+target+"\t"+r.GetName())
				}
			}
		}
		slices.Sort(choices)
		return slices.Compact(choices), err
	})
	return func(cmd *cobra.Command, given []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(given) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return hosts(cmd, given, typed)
	}
}
