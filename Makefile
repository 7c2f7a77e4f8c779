# lockd: locks between programs on one Linux host. `make help` lists the targets.

GO ?= go
GOFLAGS ?=
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: help build demo test race user crash crash-workers explore torture fuzz variants bench bench-sync vet cross lint vuln clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1	/' | expand -t 12

build: ## build bin/lockd-inspect
	CGO_ENABLED=0 $(GO) build -o bin/lockd-inspect ./lockd-inspect

demo: build ## fifty processes on one unprotected file: without a lock, then with one, under kill -9
	$(GO) run ./internal/demo --inspect bin/lockd-inspect

test: ## all tests, with real processes that are really killed
	$(GO) test -count=1 -timeout 20m ./...

race: ## the tests under the race detector (needs a C compiler)
	@command -v $$($(GO) env CC) >/dev/null || { echo "make race needs a C compiler: install gcc, or set CC" >&2; exit 1; }
	CGO_ENABLED=1 $(GO) test -race -short -count=1 -timeout 20m ./...

user: ## the tests as an ordinary user (run as root)
	./.ci/as-user

STATES ?= 2000000
explore: ## every interleaving of the protocols, and the broken variants (STATES=… for each model)
	$(GO) run ./fuzz/explore/run -states $(STATES)

crash crash-workers: SHELL := bash
crash crash-workers: .SHELLFLAGS := -o pipefail -c
SHOWN = grep -E '^ok|^FAIL|^panic|--- FAIL|_test.go'
crash: ## processes killed at every step of every operation, in every company, with the counts
	$(GO) test ./arena -count=1 -v -timeout 40m -run 'TestKilledAtEveryStep' -steps.full | $(SHOWN)

crash-workers: ## the same by other ways: the crash tests of each kind, and the workers of the torture cut off at each point
	$(GO) test ./arena -count=1 -v -timeout 30m -run 'CrashPoints|KilledAtEachStep|KilledGranters|SelfAdmittedKilled' | $(SHOWN)
	$(GO) test ./fuzz/torture -count=1 -v -timeout 40m -run 'TestCrashMatrix|TestTortureCatches' -crash.full | $(SHOWN)

FUZZTIME ?= 30s
fuzz: ## each fuzz target in turn, for FUZZTIME=30s, with the counts
	@./.ci/fuzz $(FUZZTIME)

variants: ## each protocol that is broken on purpose, until a test goes red: doc/VARIANTS.md
	$(GO) run ./internal/variants/run -write doc/VARIANTS.md

DURATION ?= 1m
torture: ## many processes on all kinds of locks, killed at random, for DURATION=1m
	$(GO) build -o bin/torture ./fuzz/torture
	bin/torture -duration $(DURATION) $(TORTURE)

bench: ## every case beside its peers in one run; BENCH=-short for a quick one, -write doc for doc/BENCHMARKS.md
	$(GO) run ./internal/bench $(BENCH)

bench-sync: ## the benchmarks of package sync, on an arena's mutex and on sync.Mutex in one run
	$(GO) test ./arena -run '^$$' -bench . -count 5

vet: ## gofmt, go vet
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt would change: $$unformatted" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags lockd_crash ./...
	$(GO) vet -tags lockd_variants ./...

cross: ## build and vet for the supported platforms
	GOOS=linux GOARCH=amd64 $(GO) build ./...
	GOOS=linux GOARCH=arm64 $(GO) build ./...
	GOOS=linux GOARCH=arm64 $(GO) vet ./...

lint: ## staticcheck
	$(GO) run $(STATICCHECK) ./...

vuln: ## govulncheck
	$(GO) run $(GOVULNCHECK) ./...

clean: ## remove what was built
	rm -rf bin
