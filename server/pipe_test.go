package server_test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/brevet-pim/brevet/cli"
	"github.com/brevet-pim/brevet/server"
)

// asServer names the data folder to a process of these tests that is to be brevet server.
const asServer = "BREVET_TEST_SERVER"

func TestMain(m *testing.M) {
	if data := os.Getenv(asServer); data != "" {
		brevet := cli.New("test", server.Commands("test")...)
		brevet.SetArgs([]string{"server", "--data", data})
		os.Exit(cli.Run(brevet))
	}
	os.Exit(m.Run())
}

// TestLogReaderGoes ends whoever reads what the server tells of itself: that must not end the server.
func TestLogReaderGoes(t *testing.T) {
	f := founding(t)
	mustFound(t, f)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asServer+"="+f.Data)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(log); ; {
		if !lines.Scan() {
			t.Fatalf("the server never came up: %v", cmd.Wait())
		}
		if strings.Contains(lines.Text(), "msg=ready") {
			break
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil { // which it tells of, to nobody
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it did not end in an orderly way: %v", err)
	}
}
