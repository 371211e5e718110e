// Package script_test runs the stories of the .txtar files here: each reads like people at their
// terminals, and is played with the real binary, a real server, the stock ssh and a stock sshd, on
// SQLite and on PostgreSQL.
//
// Beside testscript's own commands a story has
//
//	organisation [FLAGS]          alice founds one and its server starts; web1 is an sshd that trusts it
//	join NAME...                  people get keys of their own and enrol them
//	as NAME COMMAND...            what a person does at their own machine
//	until REGEXP as NAME ...      the same, again and again until it prints that
//	let VARIABLE REGEXP           what the group matched in the last standard output
//	server start|stop|kill|log    the server's process
//	gateway start|stop|kill NAME DATA   a gateway of its own
//	terminal NAME COMMAND...      a person begins something on a terminal of theirs
//	expect NAME REGEXP            what the terminal shows next
//	type NAME TEXT                what the person types, with a line end
//	ends NAME                     the program at the terminal has ended (! without success)
//	edit SQL...                   what somebody with the password of the database can do
//	unspilled TEXT...             what is secret, these texts too, is not in data folder, database and logs
package script_test

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/brevet-pim/brevet/cli"
	"github.com/brevet-pim/brevet/server"
	"github.com/brevet-pim/brevet/test/testenv"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"brevet": func() { os.Exit(cli.Run(cli.New("test", server.Commands("test")...))) },
	})
}

func TestStories(t *testing.T) {
	databases := []struct {
		name string
		url  func(*testing.T) string
	}{
		{"SQLite", func(*testing.T) string { return "" }},
		{"PostgreSQL", func(t *testing.T) string { return testenv.Postgres(t) }},
	}
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir:                 ".",
				RequireExplicitExec: true,
				RequireUniqueNames:  true,
				Setup: func(env *testscript.Env) error {
					return setUp(t, env, db.url(t))
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"organisation": organisation,
					"join":         join,
					"as":           as,
					"until":        until,
					"let":          let,
					"server":       controlServer,
					"gateway":      controlGateway,
					"terminal":     openTerminal,
					"expect":       expect,
					"type":         typeText,
					"ends":         ends,
					"edit":         edit,
					"unspilled":    unspilled,
				},
			})
		})
	}
}
