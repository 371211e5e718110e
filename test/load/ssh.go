package main

import "context"

func measureSSH(ctx context.Context, o options, r *report) error { return nil }
