package audit

import "golang.org/x/mod/sumdb/note"

// SignText signs any text as the log, to see that a signature alone makes no checkpoint.
func SignText(s *Signer, text string) ([]byte, error) {
	return note.Sign(&note.Note{Text: text}, noteSigner{name: s.origin, algorithm: algorithmEd25519, key: s.key, public: s.public})
}

// KeyHash is the key id of C2SP signed-note.
var KeyHash = keyHash
