// Package catalog reads what people write, roles, targets, groups and policies in files, and
// turns it into the one form that is signed.
//
// It owns the file format and all of its checks, the defaults, the manifest (the canonical bytes
// that a catalog statement signs), the difference between two catalogs in words, and the catalog
// that a new organisation begins with. Files and manifests are hostile input alike and pass the
// same checks. Whether a policy is good Cedar is package policy's to say.
//
// Everything wrong is reported at once, as `file:line: what: remedy`. What this version does not
// enforce is refused, never ignored.
package catalog
