# Drover's tasks. Nothing is built into the tree: programs and tools go to a
# cache folder, which DROVER_CACHE moves.

SHELL        := /bin/bash
DROVER_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/drover
BIN          := $(DROVER_CACHE)/bin
GO           ?= go

# The linter's version: what is clean with one version need not be with the next.
LINT_VERSION := v2.15.0
LINT         := $(BIN)/golangci-lint-$(LINT_VERSION)

.DEFAULT_GOAL := help
.PHONY: help build demo demo-faults sabotage test test-short conformance lint fmt docs docs-faults bench bench-edge bench-publish bench-fence bench-stall bench-promote bench-move bench-console fuzz soak servers clean

# Which proxy the conformance suite is run against: drover, nginx, haproxy or all.
PEER ?= all
# How long each fuzz test runs.
FUZZTIME ?= 30s

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build proxy and migrator into the cache folder, and say where
	@mkdir -p $(BIN)
	$(GO) build -o $(BIN)/drover-proxy ./proxy
	$(GO) build -o $(BIN)/drover-migrator ./migrator
	@echo "$(BIN)/drover-proxy and $(BIN)/drover-migrator"

demo: ## watch a campaign move 20,000 users under load; KEEP=1 leaves everything running
	$(GO) run ./tools/demo $(if $(KEEP),--keep) $(DEMO)

demo-faults: ## inject faults while a campaign runs: it must hold or take users home, and tracers must find them
	$(GO) run ./tools/demo faults $(DEMO)

sabotage: ## the demo with the fence off: it must lose writes and say so
	@out=$$(mktemp); trap 'rm -f "$$out"' EXIT; set -o pipefail; \
	if $(GO) run ./tools/demo --fence off $(DEMO) 2>&1 | tee "$$out"; then \
	  echo "the demo is green without the fence"; exit 1; fi; \
	grep -qE '^RED: .*lost' "$$out" || { echo "the demo failed, but not for lost writes"; exit 1; }; \
	echo "as it must: without the fence writes are lost, and the demo says so"

# Three packages at a time, as they wait for servers more than they compute; the
# longest first, so that none is left alone at the end.
test: servers ## everything, with -race, on real servers that it installs and starts
	$(GO) vet ./...
	$(GO) test -race -p 3 -timeout 10m ./tools/... ./migrator/... ./...

test-short: ## what needs no servers
	$(GO) test $$($(GO) list ./bucketmap/... ./internal/... ./proxy/... | grep -v '/bucketmap/consul$$')

conformance: ## the raw-socket suite against PEER=drover, nginx, haproxy or all (the default)
	$(GO) run ./tools/conformance --peer $(PEER)

lint: $(LINT) ## golangci-lint, with the import arrows of ARCHITECTURE.md
	$(LINT) run ./...

$(LINT):
	@mkdir -p $(BIN)
	GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(BIN)/golangci-lint $(LINT)

fmt: ## gofmt
	gofmt -l -w .

docs: ## draw the generated pages of docs/ anew
	$(GO) test ./migrator -run TestStatesPage -update
	$(GO) test ./proxy/internal/passport -update
	$(GO) test ./proxy/internal/config -run TestTheReference -update
	$(GO) test ./migrator/internal/config -run TestTheReference -update
	$(GO) test ./migrator/internal/binlog -run TypesPage -update
	$(GO) test -p 1 ./proxy/internal/metrics ./migrator/internal/metrics ./migrator/internal/catalog ./shardlib -run TestTheMetricsPageIsRight -update

docs-faults: servers ## try every bad map and fault on the real programs, and write docs/bad-maps.md and docs/faults.md anew
	$(GO) test -count 1 -parallel 8 ./tools/faults -update
	$(GO) test -count 1 -timeout 30m -run MeetsAnyFault ./tools/moves -update
	DROVER_SOAK=1 $(GO) test -count 1 -timeout 30m -run MeetsAnyFault ./tools/promotions -update

bench: ## the benchmarks, with allocations
	$(GO) test -run '^$$' -bench . -benchmem ./bucketmap/... ./shardlib/... ./proxy/internal/...

bench-edge: ## the edge beside nginx, haproxy and net/http in one run: CPU, memory, latency; then holds, slow clients, restarts
	$(GO) run ./bench/edge --gate --rounds 7 --retakes 3
	$(GO) run ./bench/edge held
	$(GO) run ./bench/edge slow
	$(GO) run ./bench/edge restart

bench-publish: servers ## from a publication to 200 proxies through Consul; then 1,000 versions under load
	$(GO) run ./bench/publish --gate
	$(GO) run ./bench/publish --spread
	$(GO) run ./bench/publish versions

bench-move: servers ## 100 of 1,000 buckets copied beside mariadb-dump and LOAD DATA; a backlog applied by the tail
	$(GO) run ./bench/move --gate

bench-stall: servers ## how long a move keeps a writing user waiting: on loopback, then 20 ms apart
	$(GO) run ./bench/stall --moves 1000 --gate
	$(GO) run ./bench/stall --rtt 20ms --rate 100 --gate

bench-promote: servers ## 200 promotions of a shard there and back under 1,000 transactions/s, through the proxy and beside it
	$(GO) run ./bench/promote --gate

bench-console: ## how soon, and how smoothly, Chromium shows the console on a map of a million buckets that changes
	$(GO) run ./bench/console

bench-fence: servers ## CPU time of a write with no fence, by the library, by triggers, and by both, side by side
	$(GO) run ./bench/fence

fuzz: ## each fuzz test for FUZZTIME (30s)
	@set -e; grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | while IFS=: read -r file name; do \
	  echo "$${name#func } in $$(dirname "$$file")"; \
	  $(GO) test -run '^$$' -fuzz "^$${name#func }\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null; done

soak: servers ## what takes longer than the tests may: framing fuzzed for 10 minutes, 1 GiB streams, restarts
	$(GO) test -run '^$$' -fuzz '^FuzzFraming$$' -fuzztime 10m ./proxy/internal/http1
	DROVER_SOAK_BYTES=1073741824 $(GO) test -count 1 -timeout 20m -run MemoryIsFlat ./proxy
	$(GO) run ./bench/edge restart
	DROVER_SOAK=1 $(GO) test -count 1 -timeout 30m ./tools/moves
	DROVER_SOAK=1 $(GO) test -count 1 -timeout 30m ./tools/promotions
	DROVER_SOAK=1 $(GO) test -race -count 1 -timeout 30m -run Killed ./migrator/internal/move ./migrator/internal/promote
	DROVER_SOAK=1 $(GO) test -race -count 1 -timeout 30m ./bucketmap/... ./proxy/... ./tools/sampleapp
	DROVER_SOAK=1 $(GO) test -race -count 1 -timeout 30m -run ACampaign ./migrator/internal/cli
	$(GO) run ./tools/moves ledger --moves 1000
	$(GO) run ./tools/moves ledger --moves 200 --rtt 20ms

servers: ## install the test servers (MariaDB, memcached, Consul) if they are not there
	$(GO) run ./tools/testservers/cmd/testservers install

clean: ## remove the cache folder
	rm -rf $(DROVER_CACHE)
