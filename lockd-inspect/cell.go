package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// What a column's value can be, beside strings, integers, booleans and nil:
// a number in JSON, something to read in a table.
type (
	octets  int64         // bytes
	seconds time.Duration // in JSON with a fraction
	moment  time.Time     // RFC 3339
)

func (s seconds) MarshalJSON() ([]byte, error) {
	rounded := math.Round(time.Duration(s).Seconds()*1000) / 1000
	return strconv.AppendFloat(nil, rounded, 'f', -1, 64), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *seconds) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseFloat(string(b), 64)
	if err == nil {
		*s = seconds(n * float64(time.Second))
	}
	return err
}

func (m moment) MarshalJSON() ([]byte, error) {
	if time.Time(m).IsZero() {
		return []byte("null"), nil
	}
	return []byte(time.Time(m).UTC().Format(`"` + time.RFC3339Nano + `"`)), nil
}

// UnmarshalJSON leaves null the zero time.
func (m *moment) UnmarshalJSON(b []byte) error { return (*time.Time)(m).UnmarshalJSON(b) }

const none = "-"

// cell is how a table shows a value.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return none
	case string:
		return quoted(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case fmt.Stringer:
		return v.String()
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case moment:
		return time.Time(v).Local().Format("2006-01-02 15:04:05")
	}
	return fmt.Sprint(v)
}

func (o octets) String() string {
	const units = "KMGTPE"
	if o < 1024 {
		return fmt.Sprintf("%dB", int64(o))
	}
	size, unit := float64(o)/1024, 0
	for size >= 999.5 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	if size < 9.95 {
		return fmt.Sprintf("%.1f%c", size, units[unit])
	}
	return fmt.Sprintf("%.0f%c", size, units[unit])
}

// String gives the two largest units.
func (s seconds) String() string {
	d := time.Duration(s)
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "0s" // the clock was set back
	case d < 10*time.Second:
		return strconv.FormatFloat(math.Floor(d.Seconds()*10)/10, 'f', -1, 64) + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
}

// quoted shows a text that somebody else has chosen: as it is if all of it can
// be seen and it cannot be mistaken, or as a Go string.
func quoted(text string) string {
	if text == "" || text == none || text != strings.TrimSpace(text) || strings.HasPrefix(text, `"`) || !visible(text) {
		return strconv.Quote(text)
	}
	return text
}

// isSimple is true of printable ASCII, as most texts are.
func isSimple(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

func visible(text string) bool {
	if isSimple(text) {
		return true
	}
	if !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

// printable keeps the text of an error on its line, whatever names are in it.
func printable(text string) string {
	if visible(text) {
		return text
	}
	q := strconv.Quote(text)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// quotedAlways is for what may not be mistaken for words around it.
func quotedAlways(text string) string { return strconv.Quote(text) }

// many counts in words that fit the number.
func many(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
