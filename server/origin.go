package server

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// originOf makes the name of a new organisation's audit log. Part of it is random: two logs of one
// name could be taken for each other.
func originOf(organisation string) string {
	word := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, organisation)
	word = strings.Trim(word[:min(len(word), 40)], "-")
	if word == "" {
		word = "brevet"
	}
	var tail [8]byte
	rand.Read(tail[:]) // never fails (crypto/rand, Go 1.24)
	return word + "/" + hex.EncodeToString(tail[:])
}

// ownRanges returns the ranges of loopback and of this machine's own addresses: where targets see
// a gateway on this machine come from.
func ownRanges() ([]string, error) {
	ranges := map[netip.Prefix]bool{
		netip.MustParsePrefix("127.0.0.0/8"): true,
		netip.MustParsePrefix("::1/128"):     true,
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("look at this machine's addresses: %w", err)
	}
	for _, a := range addresses {
		network, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if ip, ok := netip.AddrFromSlice(network.IP); ok && ip.Unmap().IsGlobalUnicast() {
			ranges[netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen())] = true
		}
	}
	var texts []string
	for r := range ranges {
		texts = append(texts, r.String())
	}
	slices.Sort(texts)
	return texts, nil
}
