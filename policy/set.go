package policy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a role's zone must mean the same on a host without zone files

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/brevet-pim/brevet"
)

// People tells who is an identity in force and of which kind. Somebody who left or is suspended
// is none.
type People func(brevet.PersonID) (kind brevet.IdentityKind, ok bool)

// Everybody takes every name for a person. It is for looking at files before there is a roster,
// never for giving anything.
func Everybody(brevet.PersonID) (brevet.IdentityKind, bool) { return brevet.Person, true }

// Set is a catalog made ready to decide. It does not change and may be used by many at once.
type Set struct {
	people    People
	validator *validate.Validator
	roles     map[brevet.RoleName]*role
	targets   map[brevet.TargetID]*target
	groups    map[brevet.GroupName][]brevet.PersonID
	groupsOf  map[brevet.PersonID][]brevet.GroupName // sorted
	policies  []*entry                               // in the order of files
	reads     claims                                 // what any of them reads
	index     map[indexKey][]*entry
	unscoped  map[brevet.Action][]*entry // those that name no resource
}

type role struct {
	brevet.Role
	entity cedar.Entity
	zone   *time.Location
	ticket *regexp.Regexp // nil: none asked
}

type target struct {
	brevet.Target
	entity cedar.Entity
}

// indexKey finds the policies of an action that name one resource, or, if they name none, one
// principal or group; the zero entity finds those that name neither.
type indexKey struct {
	action brevet.Action
	entity cedar.EntityUID
}

// Compile returns the set for the catalog, or Problems: an Invalid error that lists everything
// that is wrong with file, line and column.
func Compile(c brevet.Catalog, people People) (*Set, error) {
	entries, problems := compileText(c.Policies)
	validator, err := newValidator()
	if err != nil {
		return nil, err
	}
	s := &Set{
		people:    people,
		validator: validator,
		roles:     map[brevet.RoleName]*role{},
		targets:   map[brevet.TargetID]*target{},
		groups:    map[brevet.GroupName][]brevet.PersonID{},
		groupsOf:  map[brevet.PersonID][]brevet.GroupName{},
		policies:  entries,
		index:     map[indexKey][]*entry{},
		unscoped:  map[brevet.Action][]*entry{},
	}
	problems = append(problems, s.addNouns(c)...)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	for _, e := range entries {
		s.addToIndex(e)
		s.reads |= e.reads
	}
	return s, nil
}

// WithPeople returns the same set for another roster. It is cheap.
func (s *Set) WithPeople(people People) *Set {
	other := *s
	other.people = people
	return &other
}

// addNouns takes in roles, targets and groups. Package catalog has checked them; what would make
// a decision ambiguous or impossible is refused here again, since a manifest is hostile input.
func (s *Set) addNouns(c brevet.Catalog) Problems {
	var problems Problems
	wrong := func(format string, args ...any) {
		problems = append(problems, Problem{Level: Error, What: fmt.Sprintf(format, args...)})
	}
	for _, r := range c.Roles {
		if s.roles[r.Name] != nil {
			wrong("there are two roles %s", r.Name)
		}
		compiled, err := compileRole(r)
		if err != nil {
			wrong("role %s: %v", r.Name, err)
			continue
		}
		s.roles[r.Name] = compiled
	}
	for _, t := range c.Targets {
		if s.targets[t.ID] != nil {
			wrong("there are two targets %s", t.ID)
		}
		s.targets[t.ID] = &target{Target: t, entity: targetEntity(t)}
	}
	for _, g := range c.Groups {
		if _, ok := s.groups[g.Name]; ok {
			wrong("there are two groups %s", g.Name)
		}
		members := slices.Clone(g.Members)
		slices.Sort(members)
		s.groups[g.Name] = slices.Compact(members)
		for _, p := range s.groups[g.Name] {
			s.groupsOf[p] = append(s.groupsOf[p], g.Name)
		}
	}
	for _, names := range s.groupsOf {
		slices.Sort(names)
	}
	return problems
}

func compileRole(r brevet.Role) (*role, error) {
	zone, err := Zone(r.Zone)
	if err != nil {
		return nil, err
	}
	compiled := &role{Role: r, entity: roleEntity(r), zone: zone}
	if r.Asks.Ticket != "" {
		if compiled.ticket, err = Ticket(r.Asks.Ticket); err != nil {
			return nil, err
		}
	}
	return compiled, nil
}

// Zone returns the named time zone of the IANA database. "Local" is none: it would mean another
// zone on every host.
func Zone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, brevet.Errorf(brevet.Invalid, "there is no time zone %s", brevet.Quote(name)).
			WithHint("write a name of the IANA database, like Europe/Berlin or UTC")
	}
	return zone, nil
}

// Ticket returns the expression that a whole ticket must match.
func Ticket(expression string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(expression); err != nil { // by itself, so that no bracket closes ours
		return nil, brevet.Errorf(brevet.Invalid, "ticket %s is not an RE2 expression", brevet.Quote(expression)).
			WithHint("see https://github.com/google/re2/wiki/Syntax")
	}
	return regexp.Compile(`\A(?:` + expression + `)\z`)
}

// addToIndex files the policy under each action that it may decide.
func (s *Set) addToIndex(e *entry) {
	resource, entity := scopeEntity(e.tree.Resource), scopeEntity(e.tree.Resource)
	if resource.IsZero() {
		entity = scopeEntity(e.tree.Principal)
	}
	for _, f := range forms {
		if !actionInScope(f.action, e.tree.Action) {
			continue
		}
		key := indexKey{f.action, entity}
		s.index[key] = append(s.index[key], e)
		if resource.IsZero() {
			s.unscoped[f.action] = append(s.unscoped[f.action], e)
		}
	}
}

// scopeEntity returns the one entity that the scope names, or the zero entity.
func scopeEntity(scope ast.IsScopeNode) cedar.EntityUID {
	switch scope := scope.(type) {
	case ast.ScopeTypeEq:
		return scope.Entity
	case ast.ScopeTypeIn:
		return scope.Entity
	case ast.ScopeTypeIsIn:
		return scope.Entity
	}
	return cedar.EntityUID{}
}

func actionInScope(action brevet.Action, scope ast.IsActionScopeNode) bool {
	names := func(uid cedar.EntityUID) bool {
		return uid == actionUID(action) || uid == actionUID(elevate) && elevates(action)
	}
	switch scope := scope.(type) {
	case ast.ScopeTypeEq:
		return scope.Entity == actionUID(action)
	case ast.ScopeTypeIn:
		return names(scope.Entity)
	case ast.ScopeTypeInSet:
		return slices.ContainsFunc(scope.Entities, names)
	}
	return true
}

// relevant returns the policies that can decide what the person, of the groups, does to the
// resource. It leaves out only those whose scope cannot match, so it changes no decision.
func (s *Set) relevant(action brevet.Action, person brevet.PersonID, groups []brevet.GroupName, resource cedar.EntityUID) []*entry {
	found := slices.Concat(s.index[indexKey{action, cedar.EntityUID{}}], s.index[indexKey{action, resource}],
		s.index[indexKey{action, personUID(person)}])
	for _, g := range groups {
		found = append(found, s.index[indexKey{action, groupUID(g)}]...)
	}
	return found
}

// concerning returns every policy that can decide the action on the resource for anybody.
func (s *Set) concerning(action brevet.Action, resource cedar.EntityUID) []*entry {
	return slices.DeleteFunc(slices.Concat(s.index[indexKey{action, resource}], s.unscoped[action]), func(e *entry) bool {
		return !resourceInScope(resource, e.tree.Resource)
	})
}

func resourceInScope(uid cedar.EntityUID, scope ast.IsResourceScopeNode) bool {
	switch scope := scope.(type) {
	case ast.ScopeTypeIs:
		return scope.Type == uid.Type
	case ast.ScopeTypeIsIn:
		return scope.Type == uid.Type && scope.Entity == uid
	}
	named := scopeEntity(scope)
	return named.IsZero() || named == uid // no resource has parents
}

// principalInScope reports whether the scope takes in a person of the groups.
func principalInScope(person brevet.PersonID, groups []brevet.GroupName, scope ast.IsPrincipalScopeNode) bool {
	within := func(uid cedar.EntityUID) bool {
		return uid == personUID(person) || uid.Type == typeGroup && slices.Contains(groups, brevet.GroupName(uid.ID))
	}
	switch scope := scope.(type) {
	case ast.ScopeTypeEq:
		return scope.Entity == personUID(person)
	case ast.ScopeTypeIn:
		return within(scope.Entity)
	case ast.ScopeTypeIs:
		return scope.Type == typePerson
	case ast.ScopeTypeIsIn:
		return scope.Type == typePerson && within(scope.Entity)
	}
	return true
}

// GroupsOf returns the groups of the catalog that the person is in, sorted.
func (s *Set) GroupsOf(person brevet.PersonID) []brevet.GroupName {
	return slices.Clone(s.groupsOf[person])
}

func joinNames[T cmp.Ordered](names []T, most int) string {
	var parts []string
	for i, n := range names {
		if i == most {
			parts = append(parts, fmt.Sprintf("%d more", len(names)-most))
			break
		}
		parts = append(parts, fmt.Sprint(n))
	}
	return strings.Join(parts, ", ")
}
