# Two commands matter to a newcomer: make run, and make test.

SHELL   := /bin/bash
.SHELLFLAGS := -euo pipefail -c
GO      ?= go
RACE    ?= -race
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BREVET  := bin/brevet

.PHONY: run
run: build ## build Brevet, play the main job against a real sshd, and stay up
	@scripts/deps demo
	@$(GO) run ./test/demo -brevet $(BREVET) -stay

.PHONY: demo
demo: build ## the same, then exit; non-zero if a step failed
	@scripts/deps demo
	@$(GO) run ./test/demo -brevet $(BREVET)

.PHONY: build
build: ## one static binary, bin/brevet
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BREVET) ./cmd/brevet

.PHONY: test
test: deps lint ## everything: lint, generated code, tests with the race detector on both databases, fuzz seeds
	$(GO) test $(RACE) -timeout 20m ./...

.PHONY: deps
deps: ## the Debian packages that demo and tests use; nothing when they are there
	@RACE='$(RACE)' scripts/deps test

.PHONY: lint
lint: ## gofmt, vet, staticcheck, buf lint and breaking, govulncheck where its data can be had
	@scripts/lint

.PHONY: generate
generate: ## the Go code of proto/
	@scripts/generate

.PHONY: fuzz
FUZZTIME ?= 30s
fuzz: ## every fuzz target for FUZZTIME
	@scripts/fuzz $(FUZZTIME)

.PHONY: bench
BENCH ?= .
bench: ## the Go benchmarks named by BENCH
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: load
load: deps build ## the comparisons under load that docs/reference/performance.md reports
	@scripts/load

.PHONY: clean
clean: ## what the build and the demo made here; the cache folder stays
	rm -rf bin demo-data

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12
