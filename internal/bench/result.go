package main

import (
	"math"
	"slices"
)

// row is one case of ours beside one peer, as JSON has it. Times are medians
// over the rounds; of throughputs the ns are those between two operations of
// all together; of latencies, the median of all.
type row struct {
	Case   string  `json:"case"`
	Ours   string  `json:"ours"`
	Peer   string  `json:"peer"`
	OursNS float64 `json:"ours_ns"`
	PeerNS float64 `json:"peer_ns"`
	// Ratio is ours to the peer's: of ns, or of ops_per_s where there are
	// such. Low and high are the quartiles of the rounds' own ratios.
	Ratio     float64 `json:"ratio"`
	RatioLow  float64 `json:"ratio_low,omitempty"`
	RatioHigh float64 `json:"ratio_high,omitempty"`
	Rounds    int     `json:"rounds"`
	Kind      string  `json:"kind"`   // time, throughput, latency, amount
	Better    string  `json:"better"` // less, more

	OursLow  float64 `json:"ours_low,omitempty"` // quartiles over the rounds
	OursHigh float64 `json:"ours_high,omitempty"`
	PeerLow  float64 `json:"peer_low,omitempty"`
	PeerHigh float64 `json:"peer_high,omitempty"`

	OursAllocs *float64 `json:"ours_allocs,omitempty"`

	OursOps float64 `json:"ours_ops_per_s,omitempty"`
	PeerOps float64 `json:"peer_ops_per_s,omitempty"`
	// Processor time of all of them for one operation, which other programs on
	// the machine disturb less than the throughput.
	OursCPU   float64 `json:"ours_cpu_ns,omitempty"`
	PeerCPU   float64 `json:"peer_cpu_ns,omitempty"`
	OursShare float64 `json:"ours_smallest_share,omitempty"` // of a fair one, over all rounds
	PeerShare float64 `json:"peer_smallest_share,omitempty"`

	OursAmount *float64 `json:"ours_amount,omitempty"`
	PeerAmount *float64 `json:"peer_amount,omitempty"`
	AmountOf   string   `json:"amount_of,omitempty"`

	OursTail *tail `json:"ours_latency_ns,omitempty"`
	PeerTail *tail `json:"peer_latency_ns,omitempty"`

	Bars    []verdict `json:"bars,omitempty"`
	Skipped string    `json:"skipped,omitempty"`

	about string
}

// tail is a distribution of latencies.
type tail struct {
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P9999 float64 `json:"p99_99"`
	Max   float64 `json:"max"`
	Count uint64  `json:"count"`
	Lost  int     `json:"lost,omitempty"` // never came
}

// verdict is a bar and whether it was reached.
type verdict struct {
	Of     string  `json:"of"`
	Want   string  `json:"want"` // "<=" or ">="
	Limit  float64 `json:"limit"`
	Got    float64 `json:"got"`
	Passed bool    `json:"passed"`
}

// figures are what one contender's samples come to.
type figures struct {
	ns, low, high float64
	each          []float64 // by round
	ops           float64
	share, cpu    float64
	amount        float64
	allocs        *float64
	waits         *histogram
	tail          *tail
}

func (m *measured) figures(u unit) figures {
	var f figures
	var counts []uint64
	var cpu []float64
	for _, s := range m.samples {
		v := s.ns
		cpu = append(cpu, s.cpu)
		switch u {
		case perSecond:
			v = s.ops
			if counts == nil {
				counts = make([]uint64, len(s.counts))
			}
			for i, n := range s.counts {
				counts[i] += n
			}
		case latency:
			v = s.waits.quantile(0.5)
			if f.waits == nil {
				f.waits, f.tail = &histogram{}, &tail{}
			}
			f.waits.merge(s.waits)
			f.tail.Lost += s.lost
		case amount:
			v = s.amount
		}
		f.each = append(f.each, v)
		if s.allocs != nil && (f.allocs == nil || *f.allocs < *s.allocs) {
			f.allocs = s.allocs // the most of any round
		}
	}
	f.ns, f.low, f.high = quartiles(f.each)
	f.cpu, _, _ = quartiles(cpu)
	switch u {
	case amount:
		f.amount, f.ns = f.ns, 0
	case perSecond:
		f.ops = f.ns
		f.ns = finite(1e9 / f.ops)
		f.share = smallestShare(counts)
	case latency:
		f.tail.P50, f.tail.P90 = f.waits.quantile(0.5), f.waits.quantile(0.9)
		f.tail.P99, f.tail.P9999 = f.waits.quantile(0.99), f.waits.quantile(0.9999)
		f.tail.Max, f.tail.Count = float64(f.waits.largest), f.waits.total
		f.ns = f.tail.P50
	}
	return f
}

func quartiles(values []float64) (median, low, high float64) {
	if len(values) == 0 {
		return 0, 0, 0
	}
	v := slices.Sorted(slices.Values(values))
	at := func(part float64) float64 { // between two, in proportion
		p := part * float64(len(v)-1)
		i := int(p)
		if i+1 == len(v) {
			return v[i]
		}
		return v[i] + (p-float64(i))*(v[i+1]-v[i])
	}
	return at(0.5), at(0.25), at(0.75)
}

// smallestShare is how much the one who did least did of a fair share.
func smallestShare(counts []uint64) float64 {
	if len(counts) < 2 {
		return 0
	}
	sum := uint64(0)
	for _, n := range counts {
		sum += n
	}
	return float64(slices.Min(counts)) * float64(len(counts)) / float64(max(sum, 1))
}

// rowsOf compares the first contender with each of the others. Without any
// there is one row, of ours.
func rowsOf(c benchCase, list []measured) []row {
	ours := list[0].figures(c.unit)
	if len(list) == 1 {
		list = append(list, measured{})
	}
	var rows []row
	for i := range list[1:] {
		m := &list[i+1]
		r := row{
			Case: c.name, about: c.about, Ours: list[0].name, Peer: m.name, Kind: c.unit.String(), Better: "less",
			Rounds: len(list[0].samples), OursNS: ours.ns, OursLow: ours.low, OursHigh: ours.high,
			OursOps: ours.ops, OursShare: ours.share, OursCPU: ours.cpu, OursTail: ours.tail, OursAllocs: ours.allocs,
		}
		if c.unit == perSecond {
			r.Better = "more"
		}
		peer := figures{}
		switch {
		case list[0].skipped != "":
			r.Skipped = list[0].name + ": " + list[0].skipped
		case m.skipped != "":
			r.Skipped = m.skipped
		default:
			peer = m.figures(c.unit)
			r.PeerNS, r.PeerLow, r.PeerHigh = peer.ns, peer.low, peer.high
			r.PeerOps, r.PeerShare, r.PeerCPU, r.PeerTail = peer.ops, peer.share, peer.cpu, peer.tail
			r.Ratio = finite(ours.ns / peer.ns)
			switch c.unit {
			case perSecond:
				r.Ratio = finite(ours.ops / peer.ops)
			case amount:
				r.OursAmount, r.AmountOf = &ours.amount, c.of
				if m.name != "" {
					r.PeerAmount, r.Ratio = &peer.amount, finite(ours.amount/peer.amount)
				}
			}
			_, low, high := quartiles(ratios(ours.each, peer.each))
			r.RatioLow, r.RatioHigh = finite(low), finite(high)
		}
		for _, b := range c.bars {
			if b.peer == m.name && r.Skipped == "" || b.peer == "" && i == 0 && list[0].skipped == "" {
				r.Bars = append(r.Bars, b.judge(r))
			}
		}
		rows = append(rows, r)
	}
	return rows
}

func ratios(ours, peers []float64) []float64 {
	var list []float64
	for i := range min(len(ours), len(peers)) {
		list = append(list, ours[i]/peers[i])
	}
	return list
}

// finite keeps what JSON cannot say out of it.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

func (b bar) judge(r row) verdict {
	v := verdict{Of: b.of, Want: "<=", Limit: b.limit, Got: b.value(r)}
	if v.Passed = v.Got <= b.limit; b.least {
		v.Want, v.Passed = ">=", v.Got >= b.limit
	}
	return v
}

// value is what a bar is about.
func (b bar) value(r row) float64 {
	switch b.of {
	case "ratio":
		return r.Ratio
	case "ns":
		return r.OursNS
	case "allocs":
		return math.Round(*r.OursAllocs*100) / 100
	case "share":
		return r.OursShare
	case "amount":
		return *r.OursAmount
	case "p50":
		return r.OursTail.P50
	case "p99":
		return r.OursTail.P99
	case "p99.99":
		return r.OursTail.P9999
	case "max":
		return r.OursTail.Max
	case "max ratio":
		return finite(r.OursTail.Max / r.PeerTail.Max)
	}
	panic("no such bar: " + b.of)
}

// lost tells a row that did not reach a bar or, without one, is behind its peer.
func (r *row) lost() bool {
	if r.Skipped != "" {
		return false
	}
	judged := false
	for _, v := range r.Bars {
		if !v.Passed {
			return true
		}
		judged = judged || v.Of == "ratio"
	}
	if judged {
		return false
	}
	if r.Better == "more" {
		return r.Ratio < 1
	}
	return r.Ratio > 1
}
