package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/brevet-pim/brevet"
	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/cli/show"
)

// shown is how many of an id's last characters are shown: 30 random bits, few enough to type.
const shown = 6

// short shows the prefix and the end of an id, which is also a good way to type it.
func short(id string) string {
	prefix, body, ok := strings.Cut(id, "_")
	if !ok || len(body) <= shown {
		return id
	}
	return prefix + "_" + body[len(body)-shown:]
}

// ending returns what an id that was typed shortly must end with, as in "req_7k2m" or "7k2m".
func ending(typed, prefix string) (string, error) {
	end := strings.TrimPrefix(strings.ToLower(typed), prefix)
	if len(end) < 3 || strings.ContainsFunc(end, func(r rune) bool { return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z') }) {
		return "", brevet.Errorf(brevet.Invalid, "%s is not an id", brevet.Quote(typed)).WithHint("type an id like %s7k2m, or three or more of its last characters", prefix)
	}
	return end, nil
}

// only returns the one of ids that ends so.
func only(ids []string, typed, end, what, list string) (string, error) {
	var found []string
	for _, id := range ids {
		if strings.HasSuffix(id, end) && !slices.Contains(found, id) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", brevet.Errorf(brevet.NotFound, "no %s ends with %s", what, brevet.Quote(typed)).WithHint("%s", list)
	}
	return "", brevet.Errorf(brevet.Conflict, "%d %ss end with %s", len(found), what, brevet.Quote(typed)).WithHint("type more of it: %s or %s", found[0], found[1])
}

// requestOf returns the request that was typed, whole or shortly; a grant's id names its request.
func (s *session) requestOf(ctx context.Context, typed string) (*brevetv1.Request, error) {
	id := typed
	switch grant, err := brevet.ParseGrantID(typed); {
	case err == nil:
		id = string(grant.Request())
	case strings.HasPrefix(typed, "grt_"):
		id = "req_" + strings.TrimPrefix(typed, "grt_")
	}
	if _, err := brevet.ParseRequestID(id); err != nil {
		if _, err := ending(id, "req_"); err != nil {
			return nil, err
		}
	}
	got, err := s.requests.GetRequest(ctx, &brevetv1.GetRequestRequest{Id: id})
	if err != nil {
		return nil, err
	}
	return got.GetRequest(), nil
}

// How far back a short id is looked for.
const (
	listed     = 20 // pages
	listedPage = 200
)

// grantOf returns the grant's id that was typed, whole or shortly; a request's id names its grant.
func (s *session) grantOf(ctx context.Context, typed string) (string, error) {
	if id, err := brevet.ParseGrantID(typed); err == nil {
		return string(id), nil
	}
	if id, err := brevet.ParseRequestID(typed); err == nil {
		return string(id.Grant()), nil
	}
	end, err := ending(strings.TrimPrefix(strings.ToLower(typed), "req_"), "grt_")
	if err != nil {
		return "", err
	}
	ids, err := s.grantIDs(ctx, &brevetv1.ListGrantsRequest{})
	if err != nil {
		return "", err
	}
	return only(ids, typed, end, "grant", "brevet grants lists them")
}

// grantIDs returns the ids of the grants that the query finds.
func (s *session) grantIDs(ctx context.Context, query *brevetv1.ListGrantsRequest) ([]string, error) {
	query.PageSize = listedPage
	return pages(func(token string) ([]string, string, error) {
		query.PageToken = token
		got, err := s.grants.ListGrants(ctx, query)
		return idsOf(got.GetGrants()), got.GetNextPageToken(), err
	})
}

// pages gathers what the pages of a list have, as far back as short ids are looked for.
func pages(page func(token string) (ids []string, next string, err error)) ([]string, error) {
	var all []string
	token := ""
	for range listed {
		ids, next, err := page(token)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
		if token = next; token == "" {
			break
		}
	}
	return all, nil
}

func idsOf[T interface{ GetId() string }](list []T) []string {
	ids := make([]string, len(list))
	for i, one := range list {
		ids[i] = one.GetId()
	}
	return ids
}

// sessionOf returns the session's id that was typed, whole or shortly.
func (s *session) sessionOf(ctx context.Context, typed string) (string, error) {
	if id, err := brevet.ParseSessionID(typed); err == nil {
		return string(id), nil
	}
	end, err := ending(typed, "ses_")
	if err != nil {
		return "", err
	}
	ids, err := pages(func(token string) ([]string, string, error) {
		got, err := s.sessions.ListSessions(ctx, &brevetv1.ListSessionsRequest{PageSize: listedPage, PageToken: token})
		return idsOf(got.GetSessions()), got.GetNextPageToken(), err
	})
	if err != nil {
		return "", err
	}
	return only(ids, typed, end, "session", "brevet sessions --all lists them")
}

// missing tells that there is nothing of the name, and what was probably meant.
func missing(what, name string, have []string, hint string) error {
	message := "no " + what + " " + brevet.Quote(name)
	if near, ok := brevet.Nearest(name, have); ok {
		message += ". Did you mean " + show.Text(near) + "?"
	}
	return brevet.Errorf(brevet.NotFound, "%s", message).WithHint("%s", hint)
}
