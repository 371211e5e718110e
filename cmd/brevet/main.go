// Command brevet is all of Brevet in one binary: what people type (package cli), and the server and
// the gateways themselves.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/brevet-pim/brevet/cli"
	"github.com/brevet-pim/brevet/server"
)

// version is set by the linker, see Makefile.
var version = "unknown"

func main() {
	os.Exit(cli.Run(root(version)))
}

// root is the whole program: what people type, and what runs as a server.
func root(version string) *cobra.Command {
	return cli.New(version, server.Commands(version)...)
}
