package catalog

import (
	"io/fs"

	"github.com/brevet-pim/brevet"
)

// Places knows where in the files of a folder each noun stands, and under which path each policy
// file. The zero Places knows nothing.
type Places struct{ reader *reader }

// ReadPlaced is Read for whoever goes on to look at the catalog as a whole: see Places.Locate.
func ReadPlaced(fsys fs.FS) (brevet.Catalog, Places, Problems) {
	files, problems := collectCatalog(fsys)
	r, more := readFiles(files)
	return r.catalog, Places{r}, few(append(problems, more...))
}

// Locate returns the problems, found in the catalog that was read, with the files and lines that
// people know: those that are about a noun where that begins, those of a policy under its path.
func (p Places) Locate(problems Problems) Problems {
	located := make(Problems, len(problems))
	for i, problem := range problems {
		located[i] = p.locate(problem)
	}
	located.Sort()
	return located
}

func (p Places) locate(problem Problem) Problem {
	if p.reader == nil {
		return problem
	}
	if path, ok := p.reader.paths[problem.File]; ok {
		problem.File = path
	} else if at, ok := p.reader.positions[problem.About]; ok && problem.File == "" {
		problem.File, problem.Line = at.file, at.line
	}
	return problem
}
