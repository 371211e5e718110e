package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go"

	"github.com/brevet-pim/brevet"
)

func actionUID(a brevet.Action) cedar.EntityUID {
	return cedar.NewEntityUID(typeAction, cedar.String(a))
}

func personUID(id brevet.PersonID) cedar.EntityUID {
	return cedar.NewEntityUID(typePerson, cedar.String(id))
}

func groupUID(name brevet.GroupName) cedar.EntityUID {
	return cedar.NewEntityUID(typeGroup, cedar.String(name))
}

func roleUID(name brevet.RoleName) cedar.EntityUID {
	return cedar.NewEntityUID(typeRole, cedar.String(name))
}

func targetUID(id brevet.TargetID) cedar.EntityUID {
	return cedar.NewEntityUID(typeTarget, cedar.String(id))
}

func systemUID(s System) cedar.EntityUID {
	return cedar.NewEntityUID(typeSystem, cedar.String(s))
}

func roleEntity(r brevet.Role) cedar.Entity {
	var approvers []cedar.Value
	for _, stage := range r.Approval {
		approvers = append(approvers, groupUID(stage.Group))
	}
	return cedar.Entity{UID: roleUID(r.Name), Attributes: cedar.NewRecord(cedar.RecordMap{
		"sensitivity": cedar.String(r.Sensitivity),
		"owner":       cedar.String(r.Owner),
		"recording":   cedar.String(r.Recording),
		"labels":      labelSet(r.Targets.Labels),
		"logins":      stringSet(r.SSH.Logins),
		"approvers":   cedar.NewSet(approvers...),
	})}
}

func targetEntity(t brevet.Target) cedar.Entity {
	return cedar.Entity{UID: targetUID(t.ID), Attributes: cedar.NewRecord(cedar.RecordMap{
		"kind":        cedar.String(t.Kind),
		"sensitivity": cedar.String(t.Sensitivity),
		"owner":       cedar.String(t.Owner),
		"labels":      labelSet(t.Labels),
	})}
}

// unknownRole and unknownTarget stand for what the catalog no longer has, where an old grant or
// recording must still be ended or looked at: as sensitive as can be, and nobody's.
func unknownRole(name brevet.RoleName) cedar.Entity {
	return roleEntity(brevet.Role{Name: name, Sensitivity: brevet.Critical, Recording: brevet.RecordingRequired})
}

func unknownTarget(id brevet.TargetID) cedar.Entity {
	return targetEntity(brevet.Target{ID: id, Kind: brevet.SSHHost, Sensitivity: brevet.Critical})
}

func labelSet(labels map[string]string) cedar.Set {
	var values []cedar.Value
	for k, v := range labels {
		values = append(values, cedar.String(k+"="+v))
	}
	return cedar.NewSet(values...)
}

func stringSet[T ~string](words []T) cedar.Set {
	values := make([]cedar.Value, len(words))
	for i, w := range words {
		values[i] = cedar.String(w)
	}
	return cedar.NewSet(values...)
}

// view is the set as it looks to one question: who asks, and the groups they count as being in.
// It gives the engine entities one at a time, so that nothing is built that nobody looks at.
type view struct {
	*Set
	person brevet.PersonID
	kind   brevet.IdentityKind
	groups []brevet.GroupName
	self   cedar.Entity
}

// viewOf returns the view of the person, and false if there is no such identity.
func (s *Set) viewOf(person brevet.PersonID) (*view, bool) {
	return s.viewAs(person, s.groupsOf[person])
}

// viewAs is viewOf with other groups than the catalog's, for questions of what would be.
func (s *Set) viewAs(person brevet.PersonID, groups []brevet.GroupName) (*view, bool) {
	if s.people == nil {
		return nil, false
	}
	kind, ok := s.people(person)
	if !ok || !slices.Contains(identityKinds, string(kind)) {
		return nil, false
	}
	return &view{Set: s, person: person, kind: kind, groups: groups, self: personEntity(person, kind, groups)}, true
}

func personEntity(id brevet.PersonID, kind brevet.IdentityKind, groups []brevet.GroupName) cedar.Entity {
	parents := make([]cedar.EntityUID, len(groups))
	for i, g := range groups {
		parents[i] = groupUID(g)
	}
	return cedar.Entity{
		UID:        personUID(id),
		Parents:    cedar.NewEntityUIDSet(parents...),
		Attributes: cedar.NewRecord(cedar.RecordMap{"kind": cedar.String(kind)}),
	}
}

// Get returns the entity of the name; it makes view an EntityGetter.
func (v *view) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	switch uid.Type {
	case typePerson:
		if uid == v.self.UID {
			return v.self, true
		}
		return v.other(brevet.PersonID(uid.ID)), true
	case typeRole:
		if r := v.roles[brevet.RoleName(uid.ID)]; r != nil {
			return r.entity, true
		}
		return unknownRole(brevet.RoleName(uid.ID)), true
	case typeTarget:
		if t := v.targets[brevet.TargetID(uid.ID)]; t != nil {
			return t.entity, true
		}
		return unknownTarget(brevet.TargetID(uid.ID)), true
	case typeAction:
		return actionEntity(brevet.Action(uid.ID)), true
	}
	return cedar.Entity{UID: uid}, true
}

// other returns somebody who is not asking: a requester, a holder. They may have left since, and
// then count as a person.
func (v *view) other(id brevet.PersonID) cedar.Entity {
	kind, ok := v.people(id)
	if !ok {
		kind = brevet.Person
	}
	return personEntity(id, kind, v.groupsOf[id])
}

func actionEntity(a brevet.Action) cedar.Entity {
	if !elevates(a) {
		return cedar.Entity{UID: actionUID(a)}
	}
	return cedar.Entity{UID: actionUID(a), Parents: cedar.NewEntityUIDSet(actionUID(elevate))}
}
