package statement

import (
	"encoding/base64"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/brevet-pim/brevet"
)

// CheckText returns an Invalid error unless s is text that looks to every reader like what
// it is: UTF-8 in normal form NFC, at most max characters, not beginning or ending with
// a space, and without characters that are invisible or act on a screen (control and
// format characters, which include bidirectional marks and zero-width ones, line
// separators, private use). Empty text passes. field names it in the error.
//
// It only refuses and never cleans: what a person signs is what the person wrote.
func CheckText(field, s string, max int) error {
	if len(s) > max*utf8.UTFMax || utf8.RuneCountInString(s) > max {
		return brevet.Errorf(brevet.Invalid, "%s is longer than %d characters", field, max)
	}
	if !utf8.ValidString(s) {
		return brevet.Errorf(brevet.Invalid, "%s is not UTF-8 text", field)
	}
	for _, r := range s {
		if hidden(r) {
			return brevet.Errorf(brevet.Invalid, "%s has the character %U, which does not show or acts on a screen", field, r).
				WithHint("write it in one line of plain text, without control, bidirectional or invisible characters")
		}
	}
	if !norm.NFC.IsNormalString(s) {
		return brevet.Errorf(brevet.Invalid, "%s is not in Unicode normal form NFC", field).
			WithHint("letters with accents must be one character each, as keyboards make them")
	}
	if strings.TrimSpace(s) != s {
		return brevet.Errorf(brevet.Invalid, "%s begins or ends with a space", field)
	}
	return nil
}

// hidden reports whether r may not stand in signed text.
func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Cs, unicode.Co, unicode.Zl, unicode.Zp,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Noncharacter_Code_Point)
}

// CheckLogin returns an Invalid error unless login is fit to name an account on a target:
// at most 32 characters, lower-case letters, digits and "_.-", beginning with a letter, a digit or "_".
func CheckLogin(field, login string) error {
	const first = "abcdefghijklmnopqrstuvwxyz0123456789_"
	const all = first + ".-"
	// Trim leaves something exactly if there is a character that is not allowed.
	if login == "" || len(login) > 32 || strings.Trim(login[:1], first) != "" || strings.Trim(login, all) != "" {
		return brevet.Errorf(brevet.Invalid, "%s %s is not the name of an account", field, quoteShort(login)).
			WithHint("use up to 32 of the characters a-z 0-9 _ . -, and neither . nor - first")
	}
	return nil
}

// quoteShort quotes hostile input for an error, cut so that the error stays readable.
func quoteShort(s string) string {
	if len(s) > 80 {
		return brevet.Quote(s[:80]) + "…"
	}
	return brevet.Quote(s)
}

func checkNeeded(field, s string, max int) error {
	if s == "" {
		return brevet.Errorf(brevet.Invalid, "%s is empty", field)
	}
	return CheckText(field, s, max)
}

func checkName[T ~string](field string, name T) error { return brevet.CheckName(field, string(name)) }

// checkDigest wants a SHA-256 in lower-case hex; the ids of statements are such.
func checkDigest[T ~string](field string, s T) error { return checkHex(field, string(s), 64, 64) }

func checkHex(field, s string, least, most int) error {
	if len(s) < least || len(s) > most || len(s)%2 != 0 || strings.Trim(s, "0123456789abcdef") != "" {
		return brevet.Errorf(brevet.Invalid, "%s %s is not lower-case hex of the right length", field, quoteShort(s))
	}
	return nil
}

// sshPrefix begins the fingerprint of an SSH key as OpenSSH prints it.
const sshPrefix = "SHA256:"

func checkSSHFingerprint(field, s string) error {
	body, ok := strings.CutPrefix(s, sshPrefix)
	digest, err := base64.RawStdEncoding.Strict().DecodeString(body)
	if !ok || err != nil || len(digest) != 32 || len(body) != 43 {
		return brevet.Errorf(brevet.Invalid, "%s %s is not the fingerprint of an SSH key, as in %s…", field, quoteShort(s), sshPrefix)
	}
	return nil
}

func checkFingerprint(field, s string) error {
	if strings.HasPrefix(s, sshPrefix) {
		return checkSSHFingerprint(field, s)
	}
	return checkDigest(field, s)
}

func checkInteger(field string, n, least, most int64) error {
	if n < least || n > most {
		return brevet.Errorf(brevet.Invalid, "%s is %d; it must be from %d to %d", field, n, least, most)
	}
	return nil
}

func checkCount(field string, n, least, most int) error {
	if n < least || n > most {
		return brevet.Errorf(brevet.Invalid, "%s has %d entries; from %d to %d are allowed", field, n, least, most)
	}
	return nil
}

func checkOneOf[T ~string](field string, v T, allowed ...T) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	return brevet.Errorf(brevet.Invalid, "%s %s is not one of %s", field, quoteShort(string(v)), strings.Join(words, ", "))
}

// checkList wants from least to most entries, sorted and without doubles, each one good.
func checkList[T ~string](field string, list []T, least, most int, good func(string, T) error) error {
	if err := checkCount(field, len(list), least, most); err != nil {
		return err
	}
	for i, entry := range list {
		if err := good(field, entry); err != nil {
			return err
		}
		if i > 0 && list[i-1] >= entry {
			return brevet.Errorf(brevet.Invalid, "%s must be sorted and without doubles; %s stands too late", field, quoteShort(string(entry)))
		}
	}
	return nil
}

// checkRange wants a CIDR range in the one form that netip writes, without host bits.
func checkRange(field, s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Masked().String() != s {
		return brevet.Errorf(brevet.Invalid, "%s %s is not an address range like 10.0.0.0/8", field, quoteShort(s))
	}
	return nil
}

func checkAddress(field, s string) error {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.String() != s {
		return brevet.Errorf(brevet.Invalid, "%s %s is not an IP address", field, quoteShort(s))
	}
	return nil
}

// checkSerial wants a certificate's serial: a decimal number from 1 to 2^64−1.
func checkSerial(field, s string) error {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != s {
		return brevet.Errorf(brevet.Invalid, "%s %s is not a certificate's serial number", field, quoteShort(s))
	}
	return nil
}

func checkGrantID(field, s string) error {
	if _, err := brevet.ParseGrantID(s); err != nil {
		return brevet.Errorf(brevet.Invalid, "%s %s is not the id of a grant", field, quoteShort(s))
	}
	return nil
}
