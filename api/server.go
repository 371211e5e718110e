package api

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"
)

// Bounds on a connection, before anybody has said who they are.
const (
	headersWithin  = 10 * time.Second
	idleWithin     = 2 * time.Minute
	maxHeaders     = 32 << 10 // bytes
	maxConcurrent  = 200      // calls on one connection
	pingAfter      = 15 * time.Second
	pingWithin     = 10 * time.Second
	writableWithin = 30 * time.Second // a peer that takes no byte for so long is gone
)

// Server returns a server of the handler over TLS 1.3, for HTTP/2 and HTTP/1.1. The caller
// serves with ServeTLS and no files. certificate is asked at each handshake, so that a renewed one
// needs no restart.
func Server(h http.Handler, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h,
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS13,
			GetCertificate: certificate,
			// Whatever certificate a client shows is taken: the handshake proves that it has the
			// key, and the key is all that counts. See peerOf.
			ClientAuth: tls.RequestClientCert,
		},
		ReadHeaderTimeout: headersWithin,
		IdleTimeout:       idleWithin,
		MaxHeaderBytes:    maxHeaders,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxConcurrent,
			SendPingTimeout:      pingAfter,
			PingTimeout:          pingWithin,
			WriteByteTimeout:     writableWithin,
		},
		// Failed handshakes are every scanner's, and nobody's business.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
