package arena

import "errors"

func (p *performer) sections() *Ranges {
	if p.ranges == nil {
		p.ranges = p.a.Ranges(stageSections)
	}
	return p.ranges
}

func (p *performer) lockRange(mode Mode, start, length int64) {
	ctx, cancel := soon()
	defer cancel()
	must(p.sections().Lock(ctx, mode, start, length))
}

func (p *performer) releaseRanges() { must(p.sections().ReleaseAll()) }

func takeRange(mode Mode, start, length int64) func(*performer) {
	return func(p *performer) { p.lockRange(mode, start, length) }
}

func (p *performer) afterRanges() { p.releaseRanges() }

func holdRange(p *performer) func() {
	p.lockRange(Exclusive, 10, 20)
	return p.releaseRanges
}

// passRange is by a holder of its own.
func passRange(p *performer) {
	own := &performer{a: p.a}
	own.lockRange(Exclusive, 0, 40)
	own.releaseRanges()
}

// manyPieces are pieces that do not touch, more than a holder keeps records for.
func manyPieces(p *performer) {
	for i := range int64(14) {
		p.lockRange(Mode(1+i%2), 100+(i*5)%14*10, 5)
	}
}

var rangeOperations = []operation{
	{name: "lock a range", work: takeRange(Exclusive, 10, 20), after: (*performer).afterRanges},
	{name: "lock many ranges", work: manyPieces, after: (*performer).afterRanges, rival: passRange},
	{name: "release many ranges", before: manyPieces, work: (*performer).afterRanges, rival: passRange},
	{
		name: "wait for a range", hold: holdRange, wait: passRange, rival: passRange,
		work: takeRange(Exclusive, 0, 30), after: (*performer).afterRanges,
	},
	{
		name: "wait for more of a range", hold: holdRange, before: takeRange(Exclusive, 30, 20), lonely: true,
		work: takeRange(Exclusive, 0, 35), after: (*performer).afterRanges,
	},
	{
		name: "give up waiting for a range", hold: holdRange, wait: passRange, rival: passRange,
		work: func(p *performer) {
			ctx, cancel := briefly()
			defer cancel()
			giveUp(p.sections().Lock(ctx, Exclusive, 0, 30))
		},
		after: (*performer).afterRanges,
	},
	{
		name: "release a range", before: takeRange(Exclusive, 10, 20), wait: passRange, rival: passRange,
		work: (*performer).afterRanges,
	},
	{
		name: "release the middle of a range", before: takeRange(Exclusive, 0, 100), rival: passRange,
		wait: func(p *performer) {
			own := &performer{a: p.a}
			own.lockRange(Exclusive, 42, 4)
			own.releaseRanges()
		},
		work: func(p *performer) { must(p.sections().Release(40, 10)) }, after: (*performer).afterRanges,
	},
	{
		name: "convert a range", before: takeRange(Exclusive, 0, 40), rival: passRange,
		wait: func(p *performer) {
			own := &performer{a: p.a}
			own.lockRange(Shared, 12, 5)
			own.releaseRanges()
		},
		work: func(p *performer) {
			p.lockRange(Shared, 10, 10)
			ctx, cancel := briefly()
			defer cancel()
			giveUp(p.sections().Lock(ctx, Exclusive, 5, 20))
		},
		after: (*performer).afterRanges,
	},
	{name: "try a range", rival: passRange, work: func(p *performer) {
		_, err := p.sections().TryLock(Exclusive, 10, 20)
		must(err)
	}, after: (*performer).afterRanges},
	{name: "reap a range", lonely: true},
	{
		name: "mend a cut tree", first: []string{"lock many ranges@range.topped:9"}, rival: passRange,
		work: manyPieces, after: (*performer).afterRanges,
	},
	{
		name: "mend a cut withdrawal", first: []string{"give up waiting for a range@range.withdrawn:1", "release a range@range.released:1"},
		work: takeRange(Exclusive, 10, 20), after: (*performer).afterRanges, rival: passRange,
	},
	{
		name: "mend a tree with what is gone", first: []string{"reap a range@range.reaped:1", "lock many ranges@range.topped:3"}, rival: passRange,
		work: takeRange(Exclusive, 300, 10), after: (*performer).afterRanges,
	},
	{name: "give unused records back", lonely: true, work: func(p *performer) {
		ctx, cancel := soon()
		defer cancel()
		var stock rangeStock
		must(p.sections().holder.prepare(ctx, &stock, 0))
		stock.giveBack(p.core())
	}},
	{name: "close with ranges", lonely: true, closes: true, vague: true, before: manyPieces, work: closeHolding, wait: func(p *performer) {
		own := &performer{a: p.a}
		own.lockRange(Exclusive, 100, 200)
		own.releaseRanges()
	}},
}

func isDeadlock(err error) bool { return errors.Is(err, ErrDeadlock) }
