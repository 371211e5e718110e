package ssh_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/brevet-pim/brevet/test/gatewaytest"
)

// TestMasterGoesWithItsTarget: when the connection to the target is lost, so is a ControlMaster's to the gateway,
// and the next ssh makes new ones. Whoever has a session, or begins one just then, is told.
func TestMasterGoesWithItsTarget(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	mux := w.Client.Dir + "/mux"
	if err := w.Client.Configure("ControlPath "+mux, "ControlMaster auto", "ControlPersist 300"); err != nil {
		t.Fatal(err)
	}
	master := open(t, w, "gw", "echo up; sleep 1; kill -9 $PPID; sleep 300")
	master.sees("up\r\n")
	master.sees("Brevet: the connection to web1 was lost. Connect again.")
	if status := master.ends(); status != 255 {
		t.Errorf("ssh ended with %d", status)
	}
	eventually(t, "the master has gone", func() bool { _, err := os.Stat(mux); return err != nil })
	got := ssh(t, w, nil, "gw", "echo in")
	if got.status != 0 || got.stdout != "in\n" {
		t.Errorf("the next ssh: %+v", got)
	}
	// A master without sessions goes too, before anybody meets it.
	eventually(t, "the next master is there", func() bool { _, err := os.Stat(mux); return err == nil })
	ssh(t, w, nil, "gw", "(sleep 1; kill -9 $PPID) >/dev/null 2>&1 &")
	eventually(t, "the master has gone", func() bool { _, err := os.Stat(mux); return err != nil })
	if got := ssh(t, w, nil, "gw", "echo in"); got.stdout != "in\n" {
		t.Errorf("the next ssh: %+v", got)
	}
}

// TestLostTargetIsTold: a session that begins on a connection whose target is lost is told so, and how to go on.
func TestLostTargetIsTold(t *testing.T) {
	w := gatewaytest.Start(t, gatewaytest.Options{})
	w.Plane.Grant("bob", "web-root", time.Hour)
	c := connect(t, w)
	if err := execute(c, "true"); err != nil {
		t.Fatal(err)
	}
	first, err := c.NewSession() // holds the connection, and begins after the loss
	if err != nil {
		t.Fatal(err)
	}
	if err := execute(c, "kill -9 $PPID"); err == nil {
		t.Error("a command that ended its sshd ended well")
	}
	var said strings.Builder
	first.Stderr = &said
	if err := first.Run("true"); err == nil || !strings.Contains(said.String(), "the connection to web1 was lost. Connect again.") {
		t.Errorf("it is told %q (%v)", said.String(), err)
	}
	eventually(t, "the connection is closed", func() bool { return w.Server.Connections() == 0 })
}
