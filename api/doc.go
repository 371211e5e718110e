// Package api owns the way in to the control plane over the network: the services of
// proto/brevet/v1, served by Connect to Connect, gRPC and gRPC-Web clients and to curl.
//
// A handler is thin: it holds the message against what its fields may be, calls one
// function of package flow with the caller, and turns the result into messages. What a
// caller may do is decided there, so that every surface decides alike. What is here is
// what belongs to the wire: who calls (caller.go), how much, how long and how often
// (handler.go, answer.go), and that an error tells a person what to do and a stranger nothing.
package api
