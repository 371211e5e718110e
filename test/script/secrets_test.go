package script_test

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/brevet-pim/brevet/identity/enrol"
)

// unspilled looks for what is secret in the data folder, the database and the logs of processes:
// unspilled TEXT.... What people have in their homes (private keys, tokens) and the secret in $CODE is
// looked for as well, and to show that the search finds something, $REQUEST. The server's own keys may stand in no file that is not sealed, but the one that seals.
func unspilled(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: unspilled TEXT...")
	}
	secrets := map[string]string{}
	for i, text := range args {
		secrets[fmt.Sprintf("text %d", i+1)] = text
	}
	code, err := enrol.ParseCode(ts.Getenv("CODE"))
	ts.Check(err)
	secrets["the secret of the invitation"] = code.Secret.Reveal()
	addHomes(ts, secrets)
	places, searched := places(ts), false
	for place, content := range places {
		searched = searched || bytes.Contains(content, []byte(strings.TrimPrefix(ts.Getenv("REQUEST"), "req_")))
		if filepath.Base(place) != "seal.key" && bytes.Contains(content, []byte("PRIVATE KEY")) {
			ts.Fatalf("%s holds a private key as it is", place)
		}
		for name, secret := range secrets {
			for _, form := range forms(secret) {
				if bytes.Contains(content, []byte(form)) {
					ts.Fatalf("%s is in %s", name, place)
				}
			}
		}
	}
	if !searched { // it stands in the database in any case
		ts.Fatalf("the search does not even find %s", ts.Getenv("REQUEST"))
	}
}

// forms are the ways in which a secret may be written.
func forms(secret string) []string {
	all := []string{secret, strings.ToUpper(secret), hex.EncodeToString([]byte(secret))}
	for skip := range 3 { // what stands before it shifts base64
		if len(secret) > skip+12 {
			rest := secret[skip:]
			all = append(all, base64.RawStdEncoding.EncodeToString([]byte(rest[:len(rest)/3*3])))
		}
	}
	return all
}

// addHomes adds what people must keep to themselves.
func addHomes(ts *testscript.TestScript, secrets map[string]string) {
	root := filepath.Join(ts.Getenv("WORK"), "home")
	found := 0
	ts.Check(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		switch name := entry.Name(); {
		case name == "token":
			secrets[path] = strings.TrimPrefix(strings.TrimSpace(string(content)), enrol.TokenPrefix)
			found++
		case bytes.Contains(content, []byte("PRIVATE KEY")):
			lines := strings.Split(strings.TrimSpace(string(content)), "\n")
			secrets[path] = lines[len(lines)-2] // the last of its base64: only the private half is there
			found++
		}
		return nil
	}))
	if found < 6 {
		ts.Fatalf("the homes hold only %d secrets", found)
	}
}

// places returns the content of every place that is looked at.
func places(ts *testscript.TestScript) map[string][]byte {
	all := map[string][]byte{}
	read := func(path string) {
		content, err := os.ReadFile(path)
		ts.Check(err)
		all[path] = content
	}
	ts.Check(filepath.WalkDir(ts.Getenv("DATA"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			read(path)
		}
		return err
	}))
	logs, err := filepath.Glob(filepath.Join(ts.Getenv("WORK"), "*.log"))
	ts.Check(err)
	for _, path := range logs {
		read(path)
	}
	if url := ts.Getenv("DATABASE_URL"); url != "" {
		addRows(ts, url, all)
	}
	return all
}

// addRows adds every row of every table, as text.
func addRows(ts *testscript.TestScript, url string, all map[string][]byte) {
	db, err := sql.Open("pgx", url)
	ts.Check(err)
	defer db.Close()
	tables := column(ts, db, "select table_name from information_schema.tables where table_schema = 'public'")
	for _, table := range tables {
		all["table "+table] = []byte(strings.Join(column(ts, db, "select t::text from "+table+" t"), "\n"))
	}
}

func column(ts *testscript.TestScript, db *sql.DB, query string) (all []string) {
	rows, err := db.Query(query)
	ts.Check(err)
	defer rows.Close()
	for rows.Next() {
		var one string
		ts.Check(rows.Scan(&one))
		all = append(all, one)
	}
	ts.Check(rows.Err())
	return all
}
