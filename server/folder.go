package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/brevet-pim/brevet"
)

// What stands in a data folder, beside config.yaml or gateway.yaml.
const (
	databaseFile  = "brevet.db"
	logKeyFile    = "log.key"
	tlsKeyFile    = "tls.key"
	statementFile = "statement.key" // signs what the server itself notices to be over
	recorderFile  = "recorder.key"
	issuerDir     = "issuer"
	gatewayDir    = "gateway"
	recordingsDir = "recordings"
	catalogDir    = "catalog"       // the first catalog's files, for people to go on from
	foundingFile  = "founding.json" // until the database has what stands in it
	lockFile      = "lock"
)

// DefaultData is the data folder of servers and gateways that name none.
const DefaultData = "brevet-data"

// lockFolder lets one process at a time use a data folder. The lock ends with the process,
// however that ends.
func lockFolder(dir string) (*os.File, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, brevet.Errorf(brevet.NotFound, "there is no data folder %s", brevet.Quote(dir)).WithHint("brevet init --data %s", dir)
	case err != nil:
		return nil, fmt.Errorf("look at the data folder: %w", err)
	case info.Mode().Perm()&0o077 != 0:
		return nil, brevet.Errorf(brevet.Refused, "others can look into the data folder %s", brevet.Quote(dir)).WithHint("chmod 700 %s", dir)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, brevet.Errorf(brevet.Conflict, "another process of Brevet uses %s", brevet.Quote(dir)).Because(err).
			WithHint("stop it first, or give this one a data folder of its own: --data DIR")
	}
	return lock, nil
}
