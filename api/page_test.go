package api

import (
	"encoding/base64"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/store"
)

func TestPageTokens(t *testing.T) {
	bob := brevet.Caller{Person: "bob"}
	end := "req_" + strings.Repeat("a", 26)
	first := &pb.ListRequestsRequest{Mine: true, States: []string{"waiting"}, PageSize: 20}
	token := pageToken(bob, first, end)
	if p, err := page(bob, first); err != nil || p != (store.Page{Limit: 20}) {
		t.Errorf("the first page: %v, %v", p, err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	altered := append(raw[:len(raw)-1:len(raw)-1], 'b')
	for _, tt := range []struct {
		name string
		by   brevet.Caller
		m    listing
		ok   bool
	}{
		{"the next page", bob, &pb.ListRequestsRequest{Mine: true, States: []string{"waiting"}, PageSize: 20, PageToken: token}, true},
		{"a page of another size", bob, &pb.ListRequestsRequest{Mine: true, States: []string{"waiting"}, PageSize: 7, PageToken: token}, true},
		{"another filter", bob, &pb.ListRequestsRequest{States: []string{"waiting"}, PageSize: 20, PageToken: token}, false},
		{"somebody else", brevet.Caller{Person: "carol"}, &pb.ListRequestsRequest{Mine: true, States: []string{"waiting"}, PageToken: token}, false},
		{"another list", bob, &pb.ListGrantsRequest{States: []string{"waiting"}, PageToken: token}, false},
		{"an altered end", bob, &pb.ListRequestsRequest{Mine: true, States: []string{"waiting"}, PageToken: base64.RawURLEncoding.EncodeToString(altered)}, false},
		{"no end", bob, &pb.ListRequestsRequest{Mine: true, States: []string{"waiting"}, PageToken: base64.RawURLEncoding.EncodeToString(raw[:checkSize])}, false},
		{"not base64", bob, &pb.ListRequestsRequest{Mine: true, States: []string{"waiting"}, PageToken: token + "="}, false},
		{"an id", bob, &pb.ListRequestsRequest{Mine: true, States: []string{"waiting"}, PageToken: end}, false},
		{"a negative size", bob, &pb.ListRequestsRequest{PageSize: -1}, false},
		{"too large a size", bob, &pb.ListRequestsRequest{PageSize: store.MaxPage + 1}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := proto.Clone(tt.m)
			p, err := page(tt.by, tt.m)
			if (err == nil) != tt.ok || err == nil && p.After != end {
				t.Errorf("%v, %v", p, err)
			}
			if err != nil && (brevet.KindOf(err) != brevet.Invalid || !strings.HasPrefix(err.Error(), "page_")) {
				t.Errorf("the error does not name the field: %v", err)
			}
			if !proto.Equal(before, tt.m) {
				t.Error("the message was changed")
			}
		})
	}
	if pageToken(bob, first, "") != "" {
		t.Error("the last page has a next one")
	}
}
