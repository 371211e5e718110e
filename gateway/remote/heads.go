package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/brevet-pim/brevet"
	"github.com/brevet-pim/brevet/proof"
	"github.com/brevet-pim/brevet/statement"
)

// heads is how far a gateway has seen the chains.
type heads struct {
	Root    statement.ID `json:"root"`
	Roster  head         `json:"roster"`
	Catalog head         `json:"catalog"`
}

type head struct {
	Number int64        `json:"number"`
	ID     statement.ID `json:"id"` // empty before the first
}

func headsOf(root statement.ID, s *proof.State) heads {
	h := heads{Root: root}
	h.Roster.ID, h.Roster.Number = s.Roster.Head()
	h.Catalog.ID, h.Catalog.Number = s.Catalog.Head()
	return h
}

// headsFile is the path of the file that outlives the process.
type headsFile string

const maxHeads = 4 << 10

// read returns what was written; no file is a gateway that has seen nothing. A damaged file is an
// error: taken for none, it would let through what it is there to notice.
func (f headsFile) read() (h heads, err error) {
	file, err := os.Open(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return heads{}, nil
	}
	if err != nil {
		return heads{}, err
	}
	defer file.Close()
	decoder := json.NewDecoder(io.LimitReader(file, maxHeads))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&h); err != nil || decoder.More() {
		return heads{}, brevet.Errorf(brevet.Invalid, "%s is damaged", string(f)).
			WithHint("if you are sure that the control plane is the real one, remove it: the gateway then believes the chains that it is shown first").Because(err)
	}
	return h, nil
}

// write replaces the file, whole or not at all.
func (f headsFile) write(h heads) (err error) {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	dir := filepath.Dir(string(f))
	temp, err := os.CreateTemp(dir, ".heads-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temp.Name())
			err = fmt.Errorf("write %s: %w", string(f), err)
		}
	}()
	_, err = temp.Write(append(text, '\n'))
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), string(f)); err != nil {
		return err
	}
	return syncFolder(dir)
}

// syncFolder makes a new name in the folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
