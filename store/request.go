package store

import (
	"slices"
	"time"

	"github.com/brevet-pim/brevet"
)

const requestColumns = "id, statement, state, person, role, targets, logins, duration, reason, ticket, holder, via, key, at, deadline, claimed, decision, why, version"

const selectRequest = "select " + requestColumns + " from requests "

func scanRequest(row scanner) (brevet.Request, error) {
	var r brevet.Request
	err := row.Scan(&r.ID, &r.Statement, &r.State, &r.Person, &r.Role, unpack{&r.Targets}, unpack{&r.Logins}, &r.Duration,
		&r.Reason, &r.Ticket, &r.Holder, &r.Via, &r.Key, instant{&r.At}, instant{&r.Deadline}, unpack{&r.Claimed}, unpack{&r.Decision}, &r.Why, &r.Version)
	return r, err
}

// open says that a request still waits for something, in the words of the indexes of those.
const open = "(state = 'asked' or state = 'waiting' or state = 'ready')"

// Request returns the request with this id.
func (q *Query) Request(id brevet.RequestID) (brevet.Request, error) {
	return named(q, "request", id, scanRequest, selectRequest+"where id = $1", id)
}

// answerable is what the index of statements of requests has: all but those that were granted at once.
const answerable = "(version > 1 or state <> 'granted')"

// RequestOf returns the request that was made by the statement with this id, if somebody was, or is, to
// answer it: one that was granted as it was made is found by its id alone.
func (q *Query) RequestOf(statement string) (brevet.Request, error) {
	return named(q, "request with the statement", statement, scanRequest, selectRequest+"where statement = $1 and "+answerable, statement)
}

// FindRequest returns the request whose id ends so. More than one is a Conflict.
func (q *Query) FindRequest(ending string) (brevet.Request, error) {
	return ends(q, "request", ending, scanRequest, selectRequest)
}

// RequestFilter says which requests are wanted. What is empty is not asked for.
type RequestFilter struct {
	State  brevet.RequestState
	States []brevet.RequestState // one of them
	Person brevet.PersonID
	Role   brevet.RoleName
	Groups []brevet.GroupName // only waiting ones that one of these groups may answer
	Open   bool               // only those that are not final
	Newest bool               // newest first; then After is the oldest id of the page before
	Page
}

// Requests returns the requests that the filter wants, oldest first unless it says otherwise.
func (q *Query) Requests(f RequestFilter) ([]brevet.Request, error) {
	var w where
	if f.State != "" {
		w.add("state = ", f.State)
		if !f.State.Final() { // so that it is found by the index of those
			w.text = append(w.text, open)
		}
	}
	if len(f.States) > 0 {
		w.in("state", names(f.States))
		if !slices.ContainsFunc(f.States, brevet.RequestState.Final) {
			w.text = append(w.text, open)
		}
	}
	if f.Person != "" {
		w.add("person = ", f.Person)
	}
	if f.Role != "" {
		w.add("role = ", f.Role)
	}
	if f.Open {
		w.text = append(w.text, open)
	}
	if f.Groups != nil {
		var of where
		of.args = w.args
		of.in("group_name", names(f.Groups))
		w.args = of.args
		w.text = append(w.text, "state = 'waiting' and id in (select request_id from request_stages "+of.String()+")")
	}
	return list(q, scanRequest, selectRequest+w.page(f.Page, f.Newest), w.args...)
}

// page ends a query over ids that sort by time.
func (w *where) page(p Page, newest bool) string {
	compare, order := "id > ", " order by id"
	if newest {
		compare, order = "id < ", " order by id desc"
	}
	if p.After != "" {
		w.add(compare, p.After)
	}
	return w.String() + order + " limit " + w.arg(p.limit())
}

func names[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

// RequestsDue returns open requests whose deadline has come, the most overdue first.
func (q *Query) RequestsDue(now time.Time, limit int) ([]brevet.Request, error) {
	return list(q, scanRequest, selectRequest+"where "+open+" and deadline <= $1 order by deadline limit $2", micros(now), Page{Limit: limit}.limit())
}

// CountOpen returns how many requests of the person are open.
func (q *Query) CountOpen(person brevet.PersonID) (int, error) {
	return one(q, value[int], "select count(*) from requests where person = $1 and "+open, person)
}

// CountSince returns how many requests the person made since then, and MaxCount of those who made more: a
// pipeline that asks all day long is not counted through each time.
func (q *Query) CountSince(person brevet.PersonID, since time.Time) (int, error) {
	return one(q, value[int], "select count(*) from (select 1 from requests where person = $1 and id >= $2 limit $3) as recent",
		person, brevet.FirstRequestID(since), MaxCount)
}

// MaxCount is the highest number that CountSince returns.
const MaxCount = 1000

// ends returns the only row whose id has the given ending, of ids in Crockford's base32.
func ends[T any](q *Query, what, ending string, scan func(scanner) (T, error), query string) (T, error) {
	var none T
	for _, c := range ending {
		if ('a' > c || c > 'z') && ('0' > c || c > '9') && c != '_' {
			return none, brevet.Errorf(brevet.Invalid, "%s is not the ending of an id", brevet.Quote(ending))
		}
	}
	found, err := list(q, scan, query+`where id like $1 escape '!' limit 2`, "%"+escapeLike(ending))
	switch {
	case err != nil:
		return none, err
	case ending == "" || len(found) == 0:
		return none, brevet.Errorf(brevet.NotFound, "there is no %s %s", what, brevet.Quote(ending))
	case len(found) > 1:
		return none, brevet.Errorf(brevet.Conflict, "more than one %s ends in %s", what, brevet.Quote(ending)).WithHint("give more of its id")
	}
	return found[0], nil
}

// AddRequest writes a new request with version 1, in the state to which it came with this change.
func (t *Tx) AddRequest(r brevet.Request) error {
	if r.State == brevet.Cancelled || r.State == brevet.Lapsed {
		return brevet.Errorf(brevet.Invalid, "a new request is %s: it cannot be so yet", r.State)
	}
	err := t.insert("request", r.ID, "insert into requests ("+requestColumns+`)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 1)`,
		r.ID, r.Statement, r.State, r.Person, r.Role, packed(r.Targets), packed(r.Logins), r.Duration,
		r.Reason, r.Ticket, r.Holder, r.Via, r.Key, micros(r.At), micros(r.Deadline), packed(r.Claimed), packed(r.Decision), r.Why)
	if err != nil || r.State != brevet.Waiting {
		return err
	}
	return t.setStages(r)
}

// UpdateRequest writes what may change of a request: state, deadline, decision and why. It
// returns the request with its new version. If the row has another version than r, or may
// not go from its state to r's (brevet.RequestState.May), it is a Conflict.
func (t *Tx) UpdateRequest(r brevet.Request) (brevet.Request, error) {
	now, err := t.Request(r.ID)
	if err != nil {
		return brevet.Request{}, err
	}
	if err := mayMove("request", r.ID, now.Version, r.Version, now.State, r.State); err != nil {
		return brevet.Request{}, err
	}
	n, err := t.exec("update requests set state = $1, deadline = $2, decision = $3, why = $4, version = version + 1 where id = $5 and version = $6",
		r.State, micros(r.Deadline), packed(r.Decision), r.Why, r.ID, r.Version)
	if err != nil {
		return brevet.Request{}, err
	}
	if n != 1 {
		return brevet.Request{}, changedMeanwhile("request", r.ID)
	}
	if r.State == brevet.Waiting {
		if err := t.setStages(r); err != nil {
			return brevet.Request{}, err
		}
	}
	now.State, now.Deadline, now.Decision, now.Why, now.Version = r.State, r.Deadline, r.Decision, r.Why, now.Version+1
	return now, nil
}

// setStages writes whom a waiting request waits for, so that the lists of approvers are found by group.
func (t *Tx) setStages(r brevet.Request) error {
	if _, err := t.exec("delete from request_stages where request_id = $1", r.ID); err != nil {
		return err
	}
	for i, stage := range r.Decision.Stages {
		if _, err := t.exec("insert into request_stages (request_id, stage, group_name, count) values ($1, $2, $3, $4)",
			r.ID, i, stage.Group, stage.Count); err != nil {
			return err
		}
	}
	return nil
}

// mayMove checks a version and a move against the table of the vocabulary, so that an
// illegal move cannot be written. Staying in a state that is not final is no move.
func mayMove[S interface {
	~string
	May(S) bool
	Final() bool
}](what string, id any, has, wants int64, from, to S) error {
	if has != wants {
		return changedMeanwhile(what, id)
	}
	if from.May(to) || from == to && !from.Final() {
		return nil
	}
	return brevet.Errorf(brevet.Conflict, "%s %v is %s and cannot become %s", what, id, string(from), string(to))
}

func changedMeanwhile(what string, id any) error {
	return brevet.Errorf(brevet.Conflict, "%s %v was changed by somebody else meanwhile", what, id).WithHint("look at it again")
}

const approvalColumns = "statement, request_id, person, stage, agreed, duration, comment, presence, key, at"

func scanApproval(row scanner) (brevet.Approval, error) {
	var a brevet.Approval
	err := row.Scan(&a.Statement, &a.Request, &a.By, &a.Stage, &a.Agreed, &a.Duration, &a.Comment, &a.Presence, &a.Key, instant{&a.At})
	return a, err
}

// Approvals returns the answers to a request, in the order in which they came.
func (q *Query) Approvals(id brevet.RequestID) ([]brevet.Approval, error) {
	return list(q, scanApproval, "select "+approvalColumns+" from approvals where request_id = $1 order by at, statement", id)
}

// AddApproval writes an answer. A second one by the same person for the same stage is a Conflict.
func (t *Tx) AddApproval(a brevet.Approval) error {
	_, err := t.exec("insert into approvals ("+approvalColumns+") values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		a.Statement, a.Request, a.By, a.Stage, a.Agreed, a.Duration, a.Comment, a.Presence, a.Key, micros(a.At))
	if brevet.KindOf(err) == brevet.Conflict {
		return brevet.Errorf(brevet.Conflict, "%s has answered this request already", a.By).Because(err)
	}
	return err
}
