# The project's commands. `make test` is everything that is checked.
.PHONY: check test
test: check
	cargo test --workspace
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
