# `make help` lists the targets. A fresh Debian machine with Go needs nothing
# else: tools are built into bin/ in the versions pinned here, and `make test`
# installs what the tests need.

GOLANGCI_LINT_VERSION := v2.15.0

GO        ?= go
FUZZTIME  ?= 30s
BENCH     ?= .
# Arguments for `make demo`, e.g. ARGS="--servers 5".
ARGS      ?=

# Nothing of ours uses cgo. Only the race detector needs it; the tests turn it
# on for themselves.
export CGO_ENABLED := 0

# The version is part of the name, so that a new pin is a new file. It has
# gofumpt (v0.12.0 here) built in and both checks and applies its format.
GOLANGCI_LINT := bin/golangci-lint-$(GOLANGCI_LINT_VERSION)

.DEFAULT_GOAL := help
.PHONY: help demo build deps test test-long bench vet lint fmt generate clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  %-10s %s\n", $$1, $$2 }'

demo: ## run a gateway with simulated servers and two tenants
	@$(GO) run -buildvcs=false ./cmd/bluegate demo $(ARGS)

build: ## build the programs into bin/
	$(GO) build -trimpath -o bin/ ./cmd/...

deps: ## install what the tests need, or say what to install
	@.ci/deps

test: deps ## run all tests with the race detector
	@CGO_ENABLED=1 $(GO) test -race -timeout 20m ./...

test-long: deps ## fuzz, then run all tests and the long ones repeatedly
	@CGO_ENABLED=1 .ci/fuzz $(FUZZTIME)
	@CGO_ENABLED=1 $(GO) test -race -tags long -count 3 -timeout 90m ./...

# Comparisons over the network and polls need some time to settle; what runs in
# memory does not.
bench: deps ## run the benchmarks and print their ratios (docs/performance.md)
	@$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime 3s -timeout 10m ./internal/app ./internal/pool
	@$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime 200ms -timeout 10m \
		$$(grep -rl --include='*_test.go' '^func Benchmark' cmd internal | xargs -r -n 1 dirname | sort -u | sed 's|^|./|' | \
			grep -vx -e ./internal/app -e ./internal/pool)

vet: ## look for suspicious code
	@$(GO) vet ./...

lint: $(GOLANGCI_LINT) ## check style, layering and common mistakes
	@$(GOLANGCI_LINT) run

fmt: $(GOLANGCI_LINT) ## format the code
	@$(GOLANGCI_LINT) fmt

generate: ## regenerate the generated files
	@$(GO) generate ./...

clean: ## remove what was built
	rm -rf bin

$(GOLANGCI_LINT):
	@GOFLAGS= GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@mv bin/golangci-lint $@
