//go:build !unix || solaris || illumos || aix

package issuer

import (
	"os"

	"github.com/brevet-pim/brevet"
)

// lockFolder refuses: without a lock that the system takes back from a dead process, two issuers could
// share one state.
func lockFolder(string) (*os.File, error) {
	return nil, brevet.Errorf(brevet.Refused, "an issuer does not run on this system").WithHint("run the server on Linux or macOS")
}
