package main

import (
	"testing"
	"time"
)

func TestCell(t *testing.T) {
	const day = 24 * time.Hour
	for _, tc := range []struct {
		value any
		want  string
		json  string
	}{
		{nil, "-", "null"},
		{true, "yes", "true"},
		{"plain name", "plain name", `"plain name"`},
		{"größe", "größe", `"größe"`},
		{"", `""`, `""`},
		{"-", `"-"`, `"-"`},
		{" x", `" x"`, `" x"`},
		{`"x"`, `"\"x\""`, `"\"x\""`},
		{"a\tb\x1b[0m", `"a\tb\x1b[0m"`, `"a\tb\u001b[0m"`},
		{"\u202eevil", `"\u202eevil"`, "\"\u202eevil\""},
		{"a\x7f\u009bm", `"a\x7f\u009bm"`, `"a\u007f\u009bm"`},
		{"<&>", "<&>", `"<&>"`},
		{octets(0), "0B", "0"},
		{octets(1023), "1023B", "1023"},
		{octets(1024), "1.0K", "1024"},
		{octets(10189), "10K", "10189"},
		{octets(372736), "364K", "372736"},
		{octets(1<<20 - 1), "1.0M", "1048575"},
		{octets(5 << 30), "5.0G", "5368709120"},
		{seconds(0), "0s", "0"},
		{seconds(-time.Second), "0s", "-1"},
		{seconds(1234567 * time.Microsecond), "1.2s", "1.235"},
		{seconds(9990 * time.Millisecond), "9.9s", "9.99"},
		{seconds(59900 * time.Millisecond), "59s", "59.9"},
		{seconds(61 * time.Second), "1m01s", "61"},
		{seconds(time.Hour + 2*time.Minute), "1h02m", "3720"},
		{seconds(400*day + 5*time.Hour), "400d05h", "34578000"},
		{moment(time.Date(2024, 2, 3, 4, 5, 6, 7000, time.UTC)), time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC).Local().Format(time.DateTime), `"2024-02-03T04:05:06.000007Z"`},
		{uint64(1<<64 - 1), "18446744073709551615", "18446744073709551615"},
	} {
		if got := cell(tc.value); got != tc.want {
			t.Errorf("%#v shows as %q, want %q", tc.value, got, tc.want)
		}
		if got := string(jsonValue(tc.value)); got != tc.json {
			t.Errorf("%#v is %s in JSON, want %s", tc.value, got, tc.json)
		}
	}
}

func TestChoose(t *testing.T) {
	table := []column[int]{{name: "a"}, {name: "b", hidden: true}, {name: "c"}}
	for _, tc := range []struct {
		list string
		all  bool
		want string
	}{
		{"", false, "a, c"}, {"", true, "a, b, c"}, {"b", false, "b"}, {"c,A", true, "c, a"}, {"+b", false, "a, c, b"}, {"d", false, ""}, {"+", false, ""}, {"a,,b", false, ""},
	} {
		chosen, err := choose(table, tc.list, tc.all)
		if got := names(chosen); got != tc.want || (err != nil) != (tc.want == "") {
			t.Errorf("-o %q: %q, %v; want %q", tc.list, got, err, tc.want)
		}
	}
}

func TestShellLine(t *testing.T) {
	if got, want := shellLine([]string{"sh", "-c", "it's $x", ""}), `sh -c 'it'\''s $x' ''`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
