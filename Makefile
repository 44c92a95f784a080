# `make help` lists the targets. Their order is the order of a first visit.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Directory of what is expensive to get: built control planes, Python packages.
CACHE := $(or $(REKEY_CACHE),$(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME)/rekey,$(HOME)/.cache/rekey))

.PHONY: help demo test unit e2e lint release-checks format crds manifests run image image-test plugin bench prove clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Show the main job on a real control plane; KEEP=1 (or KEEP=background) leaves it running, CLUSTER=current uses your kubeconfig
	@case "$(CLUSTER)" in ""|current) ;; *) echo "CLUSTER=$(CLUSTER) is unknown: leave it out, or use CLUSTER=current" >&2; exit 1;; esac
	@[ -n "$(CLUSTER)" ] || [ "$$(id -u)" = 0 ] || { \
		echo "a node needs root: run it as root, or use a cluster of yours with CLUSTER=current" >&2; exit 1; }
	@scripts/needs.sh $(if $(CLUSTER),stores,node)
	@env $(if $(KEEP),REKEY_DEMO_KEEP=$(KEEP)) $(if $(CLUSTER),REKEY_DEMO_CLUSTER=$(CLUSTER)) \
		$(if $(YES),REKEY_DEMO_YES=$(YES)) $(if $(IMAGE),REKEY_DEMO_IMAGE=$(IMAGE)) \
		cargo run --locked -p rekey-e2e --bin demo

test: ## Everything that proves the project: unit, golden, property, conformance, end to end
	@scripts/needs.sh test
	@$(MAKE) --no-print-directory image-test
	@scripts/test.sh --workspace

unit: ## The tests that need neither root nor a control plane
	@scripts/needs.sh build
	@scripts/test.sh "-p rekey-api -p rekey-core -p rekey-controller -p rekey -p kubectl-rekey" "-p rekey-providers --lib"

e2e: ## The tests on real parts: test ground, conformance of the stores, the built binary
	@scripts/needs.sh test
	@scripts/test.sh "-p rekey-testkit -p rekey-e2e" "-p rekey-providers --test conformance --test postgres --test ssh_login"

lint: ## Format check, clippy with warnings denied, and, where Helm and cargo-deny are installed, the chart, bans, licences, sources and advisories
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then \
		cargo deny --locked check bans licenses sources; \
	else \
		echo "bans, licences and sources not checked: cargo-deny is not installed (cargo install --locked cargo-deny)"; \
	fi
	@scripts/advisories.sh
	@if "$${HELM:-helm}" version >/dev/null 2>&1; then \
		scripts/chart.sh; \
	else \
		echo "chart not checked: Helm is not installed (or name it by HELM)"; \
	fi

release-checks: lint ## What a release must pass beside `make test`: lint, and no known advisory about a dependency
	@scripts/advisories.sh --hard

format: ## Format the Rust code
	cargo fmt --all

crds: ## Write crds/ from the types in crates/api
	UPDATE_GOLDEN=1 cargo test --locked -p rekey-api --test golden

manifests: ## Write what is made from the chart and crds/: deploy/install.yaml, kustomize, golden renders; needs Helm
	@scripts/manifests.sh

run: ## Run the operator here, against the current kubeconfig; ARGS="--namespaces=shop" for flags
	cargo run --locked -p rekey -- run --log-format=text $(ARGS)

# The commit is named, because builds that share a target directory do not notice that it moved.
PACKED = REKEY_COMMIT=$${REKEY_COMMIT-$$(git rev-parse --short=12 HEAD 2>/dev/null || true)}
BUILT = $${CARGO_TARGET_DIR:-target}/release

image: ## Build the operator and pack it as an OCI image in target/image, without a container engine (docs/image.md)
	@scripts/needs.sh image
	@export $(PACKED); cargo build --release --locked -p rekey && python3 -B scripts/image --program "$(BUILT)/rekey"

image-test: ## Test what packs the image; no network, a few seconds
	@scripts/needs.sh pack
	@python3 -B scripts/image/tests

plugin: ## Build kubectl-rekey and pack it for a release in target/plugin, with its checksum
	@scripts/needs.sh image
	@export $(PACKED); cargo build --release --locked -p kubectl-rekey && \
		python3 -B scripts/image/plugin.py --program "$(BUILT)/kubectl-rekey"

bench: ## Measure cost and speed beside a bare client; ARGS="--policies=100 --only=sync" for less, --prove for 10,000
	@scripts/needs.sh node
	cargo run --release --locked -p rekey-e2e --bin bench -- $(ARGS)

prove: ## Every kill point instead of a sample, the oldest Kubernetes beside the newest, upgrades from the version before; over an hour; goes on where it was stopped, writes docs/proof.md; ARGS="sync bench" runs these only
	@scripts/needs.sh test
	@scripts/prove.sh $(ARGS)

clean: ## Remove build results; ALL=1 also removes the cache of control planes and packages
	cargo clean
	rm -rf target/prove
	$(if $(ALL),rm -rf "$(CACHE)")

.DEFAULT:
	@echo "there is no target $@; make help lists them" >&2; exit 2
