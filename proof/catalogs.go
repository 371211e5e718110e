package proof

import (
	"maps"
	"slices"
	"sync"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/catalog"
	"github.com/brevet-pim/brevet/policy"
	"github.com/brevet-pim/brevet/statement"
)

// Chain is the catalog chain: which manifest was in force at which place in the log. It does not
// change; State.Extend returns the next one.
type Chain struct {
	head     statement.ID
	number   int64
	index    int64 // of the head's leaf
	known    map[statement.ID]int64
	versions []version          // in order
	ready    map[string]compile // by manifest digest; of the newest few versions
}

// version is one statement of the chain.
type version struct {
	id       statement.ID
	index    int64
	manifest string // digest
}

// compile returns the manifest made ready, doing the work at the first call.
type compile func() (*Compiled, error)

// keptManifests is how many manifests stay ready: the one in force, and those that proofs made a
// moment ago may still rest on.
const keptManifests = 4

// Compiled is a manifest made ready to answer questions. It does not change.
type Compiled struct {
	Catalog brevet.Catalog
	Policy  *policy.Set // asks nobody who is in force: use WithPeople
	roles   map[brevet.RoleName]roleInForce
	targets map[brevet.TargetID]brevet.Target
	members map[brevet.GroupName]map[brevet.PersonID]bool
}

type roleInForce struct {
	brevet.Role
	digest string
}

func newChain() *Chain {
	return &Chain{index: -1, known: map[statement.ID]int64{}, ready: map[string]compile{}}
}

func (c *Chain) clone() *Chain {
	next := *c
	next.known = maps.Clone(c.known)
	next.versions = slices.Clip(c.versions)
	next.ready = maps.Clone(c.ready)
	return &next
}

// Head returns the id and number of the chain's last statement; "" and 0 before the first.
func (c *Chain) Head() (statement.ID, int64) { return c.head, c.number }

// Knows reports whether the statement stands in the chain.
func (c *Chain) Knows(id statement.ID) bool { _, ok := c.known[id]; return ok }

// InForce returns the manifest of the head, made ready. The error is Refused if there is none, or
// if it cannot be used: then nothing can be given until a good one follows.
func (c *Chain) InForce() (*Compiled, error) { return c.Of(c.head) }

// Of returns the manifest that the statement of the chain put in force, made ready.
func (c *Chain) Of(id statement.ID) (*Compiled, error) {
	if len(c.versions) == 0 {
		return nil, refuse("no catalog is in force")
	}
	number, ok := c.known[id]
	if !ok {
		return nil, refuse("the catalog statement %s is not in the chain", brevet.Quote(string(id)))
	}
	ready, ok := c.ready[c.versions[number-1].manifest]
	if !ok {
		return nil, refuse("the manifest of catalog %d is not there", number)
	}
	compiled, err := ready()
	if err != nil {
		return nil, within(err, "catalog %d cannot be used", number)
	}
	return compiled, nil
}

// headBefore returns the statement in force before the place at, and its number; "" and 0 if there is none.
func (c *Chain) headBefore(at int64) (statement.ID, int64) {
	for i := len(c.versions) - 1; i >= 0; i-- {
		if c.versions[i].index < at {
			return c.versions[i].id, int64(i + 1)
		}
	}
	return "", 0
}

// knewBefore reports whether the statement stands in the chain before the place at.
func (c *Chain) knewBefore(id statement.ID, at int64) bool {
	number, ok := c.known[id]
	return ok && c.versions[number-1].index < at
}

// addCatalog takes in the next statement of the catalog chain, which is the state's own copy.
func (s *State) addCatalog(e Entry) error {
	p, err := statement.Open[statement.Catalog](e.Envelope)
	if err != nil {
		return err
	}
	c := s.Catalog
	if err := s.inPlace(p.Header, p.Link, e, c.head, c.number, c.index); err != nil {
		return err
	}
	if err := s.requireThreshold(e, p.Header, statement.UseCatalog); err != nil {
		return err
	}
	c.head, c.number, c.index = e.Envelope.ID(), p.Number, e.Index
	c.known[c.head] = c.number
	c.versions = append(c.versions, version{c.head, e.Index, p.Manifest})
	return nil
}

// take takes in the manifests that are of the chain, and forgets those that are long replaced.
func (c *Chain) take(manifests map[string][]byte) error {
	wanted := map[string]bool{}
	for i, v := range c.versions {
		manifest, given := manifests[v.manifest]
		if _, ready := c.ready[v.manifest]; given && !ready {
			if digestOf(manifest) != v.manifest {
				return refuse("the manifest of catalog %d is not the one that was signed", i+1)
			}
			c.ready[v.manifest] = sync.OnceValues(func() (*Compiled, error) { return Compile(manifest) })
		}
		if given || i >= len(c.versions)-keptManifests {
			wanted[v.manifest] = true
		}
	}
	maps.DeleteFunc(c.ready, func(digest string, _ compile) bool { return !wanted[digest] })
	return nil
}

// complete reports whether the head's manifest is there.
func (c *Chain) complete() bool {
	if len(c.versions) == 0 {
		return true
	}
	_, ok := c.ready[c.versions[len(c.versions)-1].manifest]
	return ok
}

// Compile makes a manifest ready. The error lists what is wrong with it.
func Compile(manifest []byte) (*Compiled, error) {
	parsed, err := catalog.Parse(manifest)
	if err != nil {
		return nil, err
	}
	set, err := policy.Compile(parsed, nil)
	if err != nil {
		return nil, err
	}
	c := &Compiled{
		Catalog: parsed,
		Policy:  set,
		roles:   map[brevet.RoleName]roleInForce{},
		targets: map[brevet.TargetID]brevet.Target{},
		members: map[brevet.GroupName]map[brevet.PersonID]bool{},
	}
	for _, r := range parsed.Roles {
		digest, err := catalog.RoleDigest(r)
		if err != nil {
			return nil, err
		}
		c.roles[r.Name] = roleInForce{r, digest}
	}
	for _, t := range parsed.Targets {
		c.targets[t.ID] = t
	}
	for _, g := range parsed.Groups {
		members := map[brevet.PersonID]bool{}
		for _, m := range g.Members {
			members[m] = true
		}
		c.members[g.Name] = members
	}
	return c, nil
}

// Role returns the role and its digest.
func (c *Compiled) Role(name brevet.RoleName) (brevet.Role, string, bool) {
	r, ok := c.roles[name]
	return r.Role, r.digest, ok
}

// Target returns the target.
func (c *Compiled) Target(id brevet.TargetID) (brevet.Target, bool) {
	t, ok := c.targets[id]
	return t, ok
}

// Member reports whether the person is in the group.
func (c *Compiled) Member(group brevet.GroupName, person brevet.PersonID) bool {
	return c.members[group][person]
}
