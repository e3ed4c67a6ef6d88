# make demo   the operator at work on a real API server; with NODE=1 as a Pod on a real node, with KEEP=1 until Ctrl-C
# make test   everything that must hold
# make bench  how fast it is, how much memory it takes
# make laws      CASES of each property test, DOCUMENTS by the real authenticator, WORLDS random clusters and small ones with DEPARTURES
# make crashes   processes die before and after every effect; WRITES edits by each of four other writers of aws-auth
# make versions  an old and a new version take turns as leaders: OTHER is the other one's program
# make mutants   checks that the tests fail if a safety rule is switched off
# make fuzz      texts, copies, messages and specs that a fuzzer makes up, SECONDS for each of TARGETS
# make image  the image of the Dockerfile as an archive, without a container engine
# make soak   an hour of changes and faults on a real node, during which nothing may grow; MINUTES for another time
# make node   the tests of image and chart on a real node, which make test runs too where a node can run; with IMAGE=target/image.tar
#             those of install and AWS with the archive that make image made
#
# Written for the make of macOS too, which is old.

.PHONY: help demo test node soak image bench laws crashes versions mutants fuzz fuzz-corpus fmt lint docs crd examples chart testbed deny advisories sbom requirements
.DEFAULT_GOAL := help

HELM := target/testbed/helm
CHART := charts/identity-mapper
DEFINITION := identitymappings.identity-mapper.dev.yaml
BUILD := tests/testbed/build.sh

# Private items are documented too, so links to them lead somewhere.
DOCS := RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" \
	cargo doc --locked --no-deps --document-private-items && cargo test --locked --doc

# The test bed is built beside Rust's own build. A failure of either is the recipe's.
#   $(call beside,PROGRAMS,COMMAND)
beside = @$(BUILD) $(1) & testbed=$$!; trap 'kill $$testbed 2>/dev/null' INT TERM; \
	$(2) || { status=$$?; kill $$testbed 2>/dev/null; exit $$status; }; wait $$testbed

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo "make fmt, lint, docs, crd, examples, chart, testbed, deny, advisories, sbom: the pieces"

# `make demo KEEP=1` leaves the API server and the operator running until Ctrl-C, and with NODE=1 the operator is a Pod on a real node:
# make hands both on by itself.
POD = $(filter-out 0,$(NODE))

demo: requirements
	$(if $(POD),@reason=$$(tests/node/can-run.sh) || { echo "no node can run here: $$reason" >&2; \
		echo "make demo without NODE=1 needs none" >&2; exit 1; })
	$(call beside,etcd kubernetes authenticator $(if $(POD),helm node),\
		cargo build --locked --bin identity-mapper --example demo $(if $(POD),&& $(STATIC)))
	@cargo run --locked --quiet --example demo

# A run that fails says something about the change at hand, not about its luck: the laws try the same cases each time. `make laws`
# tries others.
SEED := 1
TESTS := --lib --bins --test conventions --test it

# The operator's program as the image has it, in the profile of tests. Their symbols would be most of the image.
STATIC := cargo build --locked --bin identity-mapper --target $(shell uname -m)-unknown-linux-musl \
	--config profile.dev.debug=0 --config profile.dev.strip=true

# `node` where one can run.
WHERE_POSSIBLE = $(shell tests/node/can-run.sh >/dev/null 2>&1 && echo node)

# The integration tests run last, so that their summary is the last line. They wait for most of their time: six at once, as many as
# there are control planes, keep two cores busy; so do two nodes.
test: requirements
	cargo fmt --check
	$(call beside,etcd kubernetes helm authenticator python $(WHERE_POSSIBLE),\
		cargo clippy --locked --all-targets -- -D warnings && \
		$(DOCS) && \
		$(if $(WHERE_POSSIBLE),$(STATIC) &&) cargo test --locked $(TESTS) --test node --no-run)
	$(MAKE) chart
	RUST_TEST_THREADS=2 cargo test --locked --test node
	RUST_TEST_THREADS=6 PROPTEST_RNG_SEED=$(SEED) cargo test --locked $(TESTS)

# With IMAGE, the tests that say something of an image which was made elsewhere.
OF_IMAGE := install:: aws::

node: requirements
	@tests/node/can-run.sh
	$(if $(IMAGE),@[ -f "$(IMAGE)" ] || { echo "$(IMAGE) does not exist: make image" >&2; exit 1; })
	$(call beside,etcd kubernetes helm authenticator node,$(if $(IMAGE),,$(STATIC) &&) cargo test --locked --test node --no-run)
	$(if $(IMAGE),IDENTITY_MAPPER_IMAGE=$(abspath $(IMAGE))) RUST_TEST_THREADS=2 \
		cargo test --locked --test node $(if $(IMAGE),-- $(OF_IMAGE))

soak: requirements
	@tests/node/can-run.sh
	$(call beside,etcd kubernetes helm authenticator node,$(STATIC) && cargo test --locked --test node --no-run)
	MINUTES=$(or $(MINUTES),60) cargo test --locked --test node -- --ignored --exact --nocapture soak::nothing_grows

# Needs buildah (Debian: apt-get install buildah crun), and fetches the builder's image, or takes the one that BUILDER names.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
NAME := identity-mapper:$(VERSION)
COMMIT = $(shell git rev-parse --short=12 HEAD 2>/dev/null)

image:
	STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot buildah build --timestamp 0 --build-arg IDENTITY_MAPPER_COMMIT=$(COMMIT) $(if $(BUILDER),--build-arg BUILDER=$(BUILDER)) \
		--tag localhost/$(NAME) .
	@mkdir -p target && rm -f target/image.tar
	STORAGE_DRIVER=vfs buildah push localhost/$(NAME) oci-archive:target/image.tar:$(NAME)
	@echo target/image.tar

bench: requirements
	$(call beside,etcd kubernetes,cargo bench --locked --bench operator --no-run)
	cargo bench --locked --bench operator

WORLD := controller::eks::world
WORLDS := 100000
DEPARTURES := 2
CASES := 100000
DOCUMENTS := 100000

laws: requirements
	$(call beside,etcd kubernetes authenticator,cargo test --locked --lib --bins --test conventions --test it --no-run)
	PROPTEST_CASES=$(CASES) IDENTITY_MAPPER_DEPARTURES=$(DEPARTURES) cargo test --locked --lib -- --skip $(WORLD)
	PROPTEST_CASES=$(CASES) IDENTITY_MAPPER_DOCUMENTS=$(DOCUMENTS) cargo test --locked --test conventions --test it -- \
		power:: eks::properties parser_agreement
	IDENTITY_MAPPER_WORLDS=$(WORLDS) IDENTITY_MAPPER_DEPARTURES=$(DEPARTURES) cargo test --locked --lib -- --nocapture $(WORLD)

WRITES := 1000

crashes: requirements
	$(call beside,etcd kubernetes,cargo test --locked --test conventions --test it --no-run)
	RUST_TEST_THREADS=4 IDENTITY_MAPPER_CRASHES=all IDENTITY_MAPPER_WRITES=$(WRITES) \
		cargo test --locked --test conventions --test it -- --nocapture crashes:: writers::

versions: requirements
	@[ -n "$(OTHER)" ] || { echo "OTHER names the program of another version: make versions OTHER=PROGRAM" >&2; exit 1; }
	$(call beside,etcd kubernetes,cargo test --locked --test conventions --test it --no-run)
	OTHER=$(abspath $(OTHER)) cargo test --locked --test conventions --test it -- --ignored --nocapture of_two_versions

mutants:
	cargo test --locked --lib -- --nocapture --ignored $(WORLD)

# Needs rustup's nightly toolchain and a C++ compiler for libFuzzer; cargo-fuzz is not needed. What is found on the way stays in
# tests/fuzz/work, so the next run goes on from there.
FUZZ := tests/fuzz
SECONDS := 30
TARGETS := yaml splice arn manifest plan copy queue
FUZZER := -dict=$(FUZZ)/words.dict -timeout=20 -rss_limit_mb=2048 -max_len=4096

fuzz:
	cargo +nightly build --locked --release --manifest-path $(FUZZ)/Cargo.toml
	@for target in $(TARGETS); do \
		mkdir -p $(FUZZ)/work/$$target $(FUZZ)/artifacts && \
		$(FUZZ)/target/release/$$target $(FUZZER) -max_total_time=$(SECONDS) -print_final_stats=1 \
			-artifact_prefix=$(FUZZ)/artifacts/$$target- $(FUZZ)/work/$$target $(FUZZ)/corpus/$$target || exit 1; \
	done

# The greedy merge writes first what adds most: the first SEEDS of them are kept.
SEEDS := 60

fuzz-corpus:
	@for target in $(TARGETS); do \
		new=$(FUZZ)/work/$$target-new && rm -rf $$new && mkdir -p $$new $(FUZZ)/work/$$target && \
		$(FUZZ)/target/release/$$target -set_cover_merge=1 -use_counters=0 -max_len=1024 \
			$$new $(FUZZ)/corpus/$$target $(FUZZ)/work/$$target && \
		rm -f $(FUZZ)/corpus/$$target/* && \
		for seed in $$(ls -tr $$new | head -n $(SEEDS)); do mv $$new/$$seed $(FUZZ)/corpus/$$target/ || exit 1; done && \
		rm -rf $$new || exit 1; \
	done

fmt:
	cargo fmt
	rustfmt --edition 2024 $(FUZZ)/targets/*.rs

lint:
	cargo fmt --check
	rustfmt --edition 2024 --check $(FUZZ)/targets/*.rs
	cargo clippy --locked --all-targets -- -D warnings

docs:
	$(DOCS)

# The definition as the types have it now. The chart carries a copy, since helm reads nothing outside of a chart.
crd:
	cargo run --locked --quiet -- crd >target/$(DEFINITION)
	mkdir -p crds $(CHART)/files/crds
	cp target/$(DEFINITION) crds/
	cp target/$(DEFINITION) $(CHART)/files/crds/

# What the sessions in README and docs print now.
examples:
	IDENTITY_MAPPER_WRITE_EXAMPLES=1 cargo test --locked --test conventions --test it docs::examples

chart:
	@$(BUILD) helm
	@for mode in authenticationMode=CONFIG_MAP eks.clusterName=main; do \
		$(HELM) lint --strict --quiet --set $$mode $(CHART) && \
		$(HELM) template --namespace identity-mapper --set $$mode identity-mapper $(CHART) >/dev/null || exit 1; \
	done

testbed: requirements
	@$(BUILD) etcd kubernetes helm authenticator python $(WHERE_POSSIBLE)

# Licences, and crates that must not come in. Needs cargo-deny, which the tests do not: cargo install --locked cargo-deny
deny:
	cargo deny --locked check bans licenses sources

# Known vulnerabilities, unmaintained and yanked crates. Fetches RustSec's database from github.com.
advisories:
	cargo deny --locked check advisories

# What the binary of a release is made of, as CycloneDX. The tool writes one document for each package of the workspace. Needs cargo-cyclonedx: cargo install --locked cargo-cyclonedx
sbom:
	cargo cyclonedx --format json --spec-version 1.5 --target x86_64-unknown-linux-musl --override-filename sbom.cdx
	@rm -f tests/it/sbom.cdx.json; mkdir -p target && mv sbom.cdx.json target/ && echo target/sbom.cdx.json

# Go builds nothing where KUBEBUILDER_ASSETS brings all that the goal needs.
requirements:
	@missing=; \
	need() { command -v "$$1" >/dev/null 2>&1 || { missing=1; echo "$$1 is missing: $$2" >&2; }; }; \
	need cargo "Rust 1.95 or newer, from https://rustup.rs"; \
	need cc "a C compiler, for the TLS library (Debian: apt-get install gcc libc6-dev, macOS: xcode-select --install)"; \
	[ -z "$(filter test testbed,$(MAKECMDGOALS))" ] || \
		need python3 "Python 3.9 or newer with venv (Debian: apt-get install python3-venv), for the AWS client that is not ours"; \
	go=1; [ -z "$$KUBEBUILDER_ASSETS" ] || [ -n "$(filter demo test node testbed,$(MAKECMDGOALS))" ] || go=; \
	[ -z "$$go" ] || need go "Go 1.26, from https://go.dev/dl, builds the API server that tests and demo talk to"; \
	[ -z "$$missing" ] || exit 1; \
	rust=$$(cargo --version | cut -d' ' -f2); \
	case $$rust in 1.[0-9].*|1.[0-8][0-9].*|1.9[0-4].*) \
		echo "cargo is too old: Rust 1.95 or newer is needed, this is $$rust (rustup update)" >&2; exit 1;; esac; \
	[ -n "$$go" ] || exit 0; \
	go=$$(go env GOVERSION); \
	case $$go in go1.[0-9]|go1.[0-9].*|go1.1[0-9]|go1.1[0-9].*|go1.20|go1.20.*) \
		echo "go is too old: Go 1.26 is needed, this is $$go; see https://go.dev/dl" >&2; exit 1;; esac
