package testenv

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports that FreePorts looks among: below those that systems give by themselves, to clients and to
// whoever listens on port 0 (on Linux from 32768 on), so that no other test takes one meanwhile.
const (
	firstPort = 16384
	lastPort  = 32767
)

// FreePorts returns n different loopback addresses on which nothing listens, for programs that must be
// told theirs before they start.
func FreePorts(n int) ([]string, error) {
	var found []string
	for range 100 * n {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort+1)))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		defer l.Close() // after all are found, so that they differ
		if found = append(found, address); len(found) == n {
			return found, nil
		}
	}
	return nil, errors.New("there are no free ports on 127.0.0.1")
}
