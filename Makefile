# The project's commands. `make demo` shows it, `make test` is everything that is checked.
PIPELABS := target/debug/pipelabs
CHAOS_ROUNDS ?= 200
FUZZ_EXAMPLES ?= 120
# Stands in every event that the build writes.
export PIPELABS_BUILD ?= $(shell git describe --always --dirty --abbrev=12 2>/dev/null)

.PHONY: demo test check checks deny setup build chaos fuzz bench queries

# A desk that runs on private servers until Ctrl-C, and leaves nothing running; DEMO_ARGS="--for 30s" ends it by itself.
demo: setup build
	@exec $(PIPELABS) demo $(DEMO_ARGS)

# Runs against servers of its own, which end with it.
test: check build
	cargo test --workspace --locked
	target/debug/sweep

check: checks deny
	cargo fmt --all --check
	rustfmt --edition 2024 --check crates/alerts/src/rules/*.rs
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Installs what is missing, and says what it does.
setup:
	@crates/pipelabs/install.sh

# What `make test` checks with, beside what `setup` installs.
checks:
	@crates/pipelabs/install.sh checks

# Which crates may be in the build, and under which licences: deny.toml. Known holes are looked for where their list can
# be reached.
deny: checks
	tests/deny.sh

build:
	cargo build --locked -p pipelabs

# kill -9 at random, in many seeded rounds: CHAOS_ROUNDS=200 CHAOS_SEED=0. Then the edge under attack, as a table.
chaos: setup build
	CHAOS_ROUNDS=$(CHAOS_ROUNDS) cargo test --locked -p tests -- kill:: chaos:: whoever_is_killed three_schedulers --nocapture
	@$(MAKE) bench BENCH=edge

# Requests made from the API's own description, many more than `make test` makes: FUZZ_EXAMPLES=120 FUZZ_SEED=0.
fuzz: checks build
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) cargo test --locked -p tests -- described:: --nocapture

# What it does in a second, beside plain means on the same Postgres, and under attack: BENCH="--quick append edge".
bench: setup
	cargo build --release --locked -p pipelabs -p benches
	@exec target/release/benches $(BENCH)

# Checks every query against a fresh database and writes .sqlx anew, so that a build needs none.
queries: setup
	crates/store/queries.sh
