package testenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Cluster is a running PostgreSQL. It listens on a socket in its own folder
// and nowhere else, which only its account and root may pass, and it keeps
// what it commits (fsync on), so that crash tests mean something.
type Cluster struct {
	dir     string
	count   atomic.Int64 // databases made
	process *process
	tether  io.Closer // closes with this process; see removeAfter
}

// StartPostgres makes a cluster in dir and starts it. A dir that has a cluster
// keeps it. As root it runs as the account "postgres", which is given dir and
// must be able to reach it; the folders of testing.T.TempDir it cannot.
func StartPostgres(ctx context.Context, dir string) (*Cluster, error) {
	c := &Cluster{dir: dir}
	return c, c.Start(ctx)
}

// Start starts a cluster that was stopped, or has crashed.
func (c *Cluster) Start(ctx context.Context) error {
	cmd, err := postgresCommand(c.dir)
	if err != nil {
		return err
	}
	if c.process, err = start(cmd, filepath.Join(c.dir, "log")); err != nil {
		return err
	}
	err = c.process.ready(ctx, func(ctx context.Context) error { return c.exec(ctx, "select 1") })
	if err != nil {
		c.Stop()
	}
	return err
}

// NewDatabase makes an empty database and returns its URL.
func (c *Cluster) NewDatabase(ctx context.Context) (string, error) {
	name := fmt.Sprintf("brevet_%d_%d", os.Getpid(), c.count.Add(1))
	if err := c.exec(ctx, "create database "+name); err != nil {
		return "", fmt.Errorf("make database %s: %w", name, err)
	}
	return c.url(name), nil
}

// Stop ends the server and every connection to it, at once and cleanly.
func (c *Cluster) Stop() { c.process.stop(syscall.SIGINT) }

// Crash ends the server as a crash would: what is not committed is lost.
func (c *Cluster) Crash() { c.process.stop(syscall.SIGQUIT) }

// Log returns what the server has logged.
func (c *Cluster) Log() string { return c.process.output() }

func (c *Cluster) url(database string) string {
	query := url.Values{"host": {c.dir}, "user": {"postgres"}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + query.Encode()
}

// exec runs one statement in the database that every cluster has.
func (c *Cluster) exec(ctx context.Context, sql string) error {
	conn, err := pgconn.Connect(ctx, c.url("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return conn.Exec(ctx, sql).Close()
}

// postgresCommand returns the server's command, after it has made the cluster
// if there is none.
func postgresCommand(dir string) (*exec.Cmd, error) {
	initdb, err := Program("initdb")
	if err != nil {
		return nil, err
	}
	server, err := Program("postgres")
	if err != nil {
		return nil, err
	}
	as := func(*exec.Cmd) {}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		a, err := lookup("postgres")
		if err != nil {
			return nil, missing("PostgreSQL's account")
		}
		if err := os.Chown(dir, a.uid, a.gid); err != nil {
			return nil, err
		}
		as = a.run
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err != nil {
		cmd := command(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
		cmd.Dir = dir
		as(cmd)
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("initdb: %w\n%s", err, out)
		}
	}
	cmd := command(server, "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories="+dir,
		"-c", "max_connections=200", "-c", "fsync=on", "-c", "logging_collector=off")
	cmd.Dir = dir
	as(cmd)
	return cmd, nil
}

// Postgres returns the URL of a new, empty database. All tests of one test
// binary share a cluster, which starts with the first of them.
func Postgres(t TB) string {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatalf("%v", err)
	}
	url, err := c.NewDatabase(context.Background())
	if err != nil {
		t.Fatalf("%v", err)
	}
	return url
}

// PostgresCluster returns a cluster of the test's own, for tests that stop it.
func PostgresCluster(t TB) *Cluster {
	t.Helper()
	dir, err := folder("postgres")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { removeFolder(t, dir) })
	c, err := StartPostgres(context.Background(), dir)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(c.Stop)
	return c
}

// shared is the cluster of this process. It is the one thing here that outlives
// a test, since starting one costs more than most tests.
var shared = sync.OnceValues(func() (*Cluster, error) {
	dir, err := folder("postgres")
	if err != nil {
		return nil, err
	}
	c, err := StartPostgres(context.Background(), dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c.tether, err = removeAfter(dir)
	return c, err
})

// removeAfter removes dir after this process and then the server in it have ended. A
// test binary has no last moment of its own (it may panic, or be killed), so a
// shell waits for the end of a pipe that only this process holds: the one
// returned, which must be kept, since the garbage collector would close it.
func removeAfter(dir string) (io.Closer, error) {
	const script = `read -r _; n=0
while [ -e "$1/data/postmaster.pid" ] && [ $n -lt 200 ]; do sleep 0.05; n=$((n+1)); done
rm -rf -- "$1"`
	cmd := exec.Command("sh", "-c", script, "sh", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	tether, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return tether, cmd.Start()
}
