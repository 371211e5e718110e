//go:build unix && !solaris && !illumos && !aix

package issuer

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/brevet-pim/brevet"
)

// lockFolder makes the folder this process's own until the file is closed: two issuers with one state
// would each sign what the other knows nothing of. The system lets go when the process dies.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = brevet.Errorf(brevet.Conflict, "another process has the issuer's folder %s open", brevet.Quote(dir)).
			WithHint("stop the other server; one folder belongs to one issuer")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
