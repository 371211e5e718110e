// Package failure carries Brevet's errors over the API: kind, sentence and hint go
// in by Wire on the server and come out by Read in the client, so that a person
// reads the same words whichever surface they used.
//
// The kind is the Connect code, the sentence its message, and the hint a detail of
// type google.protobuf.StringValue, so that any Connect or gRPC client can read all three.
package failure

import (
	"context"
	"errors"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/brevet-pim/brevet"
)

// codes is the one table of kinds and Connect codes.
var codes = []struct {
	kind brevet.Kind
	code connect.Code
}{
	{brevet.Internal, connect.CodeInternal},
	{brevet.Invalid, connect.CodeInvalidArgument},
	{brevet.Unauthenticated, connect.CodeUnauthenticated},
	{brevet.Refused, connect.CodePermissionDenied},
	{brevet.NotFound, connect.CodeNotFound},
	{brevet.Conflict, connect.CodeFailedPrecondition},
	{brevet.Limited, connect.CodeResourceExhausted},
	{brevet.Unavailable, connect.CodeUnavailable},
}

// Wire returns err as a Connect error that says what a person may be told, and nothing of the
// cause. A nil err stays nil; a call that was given up says so.
func Wire(err error) error {
	if err == nil {
		return nil
	}
	if wire, ok := errors.AsType[*connect.Error](err); ok { // from the interceptors before
		return wire
	}
	code := codeOf(err)
	message, hint := brevet.MessageOf(err)
	if given, ok := givenUp[code]; ok {
		message, hint = given.message, given.hint
	}
	wire := connect.NewError(code, errors.New(message))
	if hint == "" {
		return wire
	}
	if detail, err := connect.NewErrorDetail(wrapperspb.String(hint)); err == nil {
		wire.AddDetail(detail)
	}
	return wire
}

// givenUp is what is said of calls that did not fail, and that their callers did not wait for.
var givenUp = map[connect.Code]struct{ message, hint string }{
	connect.CodeCanceled: {"the call was given up before it was answered", "look whether it was done before you try again"},
	connect.CodeDeadlineExceeded: {
		"the deadline of the call came before its answer",
		"look whether it was done, and give the call more time: the header Connect-Timeout-Ms, or grpc-timeout, says how much",
	},
}

func codeOf(err error) connect.Code {
	if _, ok := errors.AsType[*brevet.Error](err); !ok {
		switch {
		case errors.Is(err, context.Canceled):
			return connect.CodeCanceled
		case errors.Is(err, context.DeadlineExceeded):
			return connect.CodeDeadlineExceeded
		}
	}
	kind := brevet.KindOf(err)
	for _, c := range codes {
		if c.kind == kind {
			return c.code
		}
	}
	return connect.CodeInternal
}

// Read returns what Wire sent as a brevet.Error. What the server did not send, since it was not
// reached or the call was given up, is told in words of its own; anything else stays as it is.
func Read(err error) error {
	wire, ok := errors.AsType[*connect.Error](err)
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case !ok:
		return err
	case !connect.IsWireError(wire):
		return unreached(wire)
	}
	e := brevet.Errorf(kindOf(wire.Code()), "%s", wire.Message())
	for _, detail := range wire.Details() {
		if hint, err := detail.Value(); err == nil {
			if text, ok := hint.(*wrapperspb.StringValue); ok {
				return e.WithHint("%s", text.GetValue())
			}
		}
	}
	return e
}

func kindOf(code connect.Code) brevet.Kind {
	for _, c := range codes {
		if c.code == code {
			return c.kind
		}
	}
	switch code {
	case connect.CodeOutOfRange:
		return brevet.Invalid
	case connect.CodeAlreadyExists, connect.CodeAborted:
		return brevet.Conflict
	case connect.CodeDeadlineExceeded, connect.CodeUnimplemented:
		return brevet.Unavailable
	}
	return brevet.Internal
}

// unreached tells of a failure on the way, where the server said nothing.
func unreached(err *connect.Error) error {
	if own, ok := errors.AsType[*brevet.Error](err.Unwrap()); ok { // from a dialer or interceptor of ours
		return own
	}
	if err.Code() == connect.CodeDeadlineExceeded {
		return brevet.Errorf(brevet.Unavailable, "the server did not answer in time").Because(err)
	}
	return brevet.Errorf(brevet.Unavailable, "the server cannot be reached: %s", brevet.Quote(err.Message())).Because(err).
		WithHint("see whether it runs there (brevet server), and whether this machine may reach it")
}
