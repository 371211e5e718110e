package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	brevetv1 "github.com/brevet-pim/brevet/api/brevet/v1"
	"github.com/brevet-pim/brevet/record"
)

// delivery is how long the gateway may take to hand in a recording, once its session is over.
const delivery = 2 * time.Minute

// checkRecorded plays the newest session back and fails unless every byte of the load is in it. The
// earlier ones of the same load must be whole, by the control plane's count.
func (s *road) checkRecorded(ctx context.Context, alice *caller, l load) error {
	newest, err := s.sealed(ctx, alice)
	if err != nil {
		return err
	}
	end, bytes, err := played(ctx, alice, newest)
	if err != nil {
		return err
	}
	count := end.Stdout
	if l.upload {
		count = end.Stdin
	}
	if count.Seen != l.size || count.Recorded != l.size || bytes != l.size {
		return fmt.Errorf("%s: %d bytes passed, %d are said to be recorded, %d are there, of %d", l.name, count.Seen, count.Recorded, bytes, l.size)
	}
	return nil
}

// sealed waits until the recordings of all sessions so far are complete, and returns the newest session.
func (s *road) sealed(ctx context.Context, by *caller) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, delivery)
	defer cancel()
	for {
		got, err := by.sessions.ListSessions(ctx, &brevetv1.ListSessionsRequest{PageSize: 100})
		if err != nil {
			return "", err
		}
		open := 0
		for _, session := range got.GetSessions() {
			if !session.GetRecorded() {
				return "", fmt.Errorf("%s is not recorded", session.GetId())
			}
			if !session.GetRecording().GetComplete() {
				open++
			}
		}
		if open == 0 && len(got.GetSessions()) > 0 {
			return got.GetSessions()[0].GetId(), nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("%d recordings are not complete: %w", open, ctx.Err())
		}
	}
}

// played plays a session back and returns its end, and how many bytes of its streams are in it.
func played(ctx context.Context, by *caller, id string) (end record.End, bytes int64, err error) {
	stream, err := by.sessions.PlaySession(ctx, &brevetv1.PlaySessionRequest{Id: id})
	if err != nil {
		return end, 0, err
	}
	defer stream.Close()
	read, write := io.Pipe()
	defer read.Close()
	var report *brevetv1.RecordingReport
	go func() {
		for stream.Receive() {
			if r := stream.Msg().GetReport(); r != nil {
				report = r
			}
			if _, err := write.Write(stream.Msg().GetFrames()); err != nil {
				return // whoever reads has ended
			}
		}
		write.CloseWithError(errors.Join(stream.Err())) // EOF if there is none
	}()
	for e, err := range record.ReadEvents(read) {
		if err != nil {
			return end, 0, err
		}
		switch e.Kind {
		case record.KindStdin, record.KindStdout:
			bytes += int64(len(e.Data))
		case record.KindEnd:
			if end, err = e.End(); err != nil {
				return end, 0, err
			}
		}
	}
	if !report.GetComplete() || report.GetProblem() != "" {
		return end, 0, fmt.Errorf("the recording of %s is not whole: %s", id, report.GetProblem())
	}
	return end, bytes, nil
}
