package main

import "regexp"

// groups are all cases, each group in a file of its own. A group makes its
// list for a plan, since some have a case for each size.
var groups = []func(p plan) []benchCase{
	pairCases,
	readerCases,
	contendedCases,
	goroutineCases,
	waitCases,
	pingPongCases,
	raceCases,
	killCases,
	wakeCases,
	nameCases,
	footprintCases,
	blockedCases,
	herdCases,
	idleCases,
	heldCases,
	rangeCases,
	openCases,
	commandCases,
}

func casesFor(p plan, wanted *regexp.Regexp) []benchCase {
	var list []benchCase
	for _, group := range groups {
		for _, c := range group(p) {
			if wanted.MatchString(c.name) {
				list = append(list, c)
			}
		}
	}
	return list
}
