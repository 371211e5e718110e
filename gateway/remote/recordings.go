package remote

import (
	"context"
	"time"

	"github.com/brevet-pim/brevet"
	pb "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/api/brevet/v1/brevetv1connect"
	"github.com/brevet-pim/brevet/api/failure"
	"github.com/brevet-pim/brevet/record"
)

// Recordings delivers recordings to the control plane. A record.Spool calls it, and keeps what
// could not be delivered: over the control plane's absence, and over a restart.
type Recordings struct {
	Client brevetv1connect.GatewayServiceClient
}

var _ record.Uploader = Recordings{}

// putWithin bounds one call, so that a server which takes it and never answers holds up nothing:
// the Spool tries again.
const putWithin = time.Minute

// Put implements record.Uploader.
func (r Recordings) Put(ctx context.Context, session brevet.SessionID, first int, chunks [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, putWithin)
	defer cancel()
	_, err := r.Client.PutChunks(ctx, &pb.PutChunksRequest{Session: string(session), First: int32(first), Chunks: chunks})
	return failure.Read(err)
}

// Cut implements record.Uploader.
func (r Recordings) Cut(ctx context.Context, session brevet.SessionID, chunks int, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, putWithin)
	defer cancel()
	_, err := r.Client.CutRecording(ctx, &pb.CutRecordingRequest{Session: string(session), Chunks: int32(chunks), Reason: reason})
	return failure.Read(err)
}
