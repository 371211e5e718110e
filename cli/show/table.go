package show

import (
	"io"
	"strings"
)

// Table is rows under a head. Cells are plain text of anybody's making; Write escapes them.
type Table struct {
	Head []string
	Rows [][]string
}

// Add adds a row. An empty cell shows as "–".
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// gap stands between two columns.
const gap = 2

// narrowest is the width below which Write shrinks no column.
const narrowest = 12

// Write prints the table in at most the given number of columns, or in as many as it takes if
// columns is 0 (not a terminal: scripts get everything).
func (t *Table) Write(w io.Writer, columns int) error {
	lines := make([][]string, 0, len(t.Rows)+1)
	lines = append(lines, t.Head)
	for _, row := range t.Rows {
		lines = append(lines, cells(row, len(t.Head)))
	}
	widths := fit(widest(lines, len(t.Head)), columns)
	var b strings.Builder
	for _, line := range lines {
		writeLine(&b, line, widths)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func cells(row []string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "–"
		if i < len(row) && row[i] != "" {
			out[i] = Text(row[i])
		}
	}
	return out
}

func widest(lines [][]string, n int) []int {
	widths := make([]int, n)
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], Width(cell))
		}
	}
	return widths
}

// fit takes columns from the widest until the sum fits.
func fit(widths []int, columns int) []int {
	if columns == 0 {
		return widths
	}
	over := gap*(len(widths)-1) - columns
	for _, w := range widths {
		over += w
	}
	for ; over > 0; over-- {
		most := 0
		for i, w := range widths {
			if w > widths[most] {
				most = i
			}
		}
		if widths[most] <= narrowest {
			break
		}
		widths[most]--
	}
	return widths
}

func writeLine(b *strings.Builder, line []string, widths []int) {
	for i, cell := range line {
		cell = Cut(cell, widths[i])
		b.WriteString(cell)
		if i < len(line)-1 {
			b.WriteString(strings.Repeat(" ", widths[i]-Width(cell)+gap))
		}
	}
	b.WriteByte('\n')
}
