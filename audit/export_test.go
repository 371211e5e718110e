package audit

import "golang.org/x/mod/sumdb/note"

// SignText signs any text as the log, to see that a signature alone makes no checkpoint.
func SignText(s *Signer, text string) ([]byte, error) {
	return note.Sign(&note.Note{Text: text}, noteSigner{name: s.origin, algorithm: algorithmEd25519, key: s.key, public: s.public})
}

// KeyHash is the key id of C2SP signed-note.
var KeyHash = keyHash

// Uncovered is uncovered over runs given as first, last, first, last …
func Uncovered(runs, by []int64) (first, last int64, found bool) {
	gap, found := uncovered(spans(runs), spans(by))
	return gap.first, gap.last, found
}

func spans(ends []int64) (all []span) {
	for i := 0; i < len(ends); i += 2 {
		all = append(all, span{ends[i], ends[i+1]})
	}
	return all
}

// ParseSpan reads the subject of an audit.erased event.
func ParseSpan(subject string) (first, last int64, ok bool) {
	s, ok := parseSpan(subject)
	return s.first, s.last, ok
}
