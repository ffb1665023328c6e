#!/usr/bin/env bash
# Holds every crate of the build against deny.toml: licences, bans, sources; and known holes, where RustSec's list of them
# can be fetched. Where it cannot, an older copy will do, and where there is none, that is said and nothing fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deny() { .pipelabs/tools/checks/bin/cargo-deny --locked --log-level warn "$@"; }
say() { echo "deny: $*"; }

# $CARGO_HOME's copies of the list; the name ends in a hash of where it comes from.
has_copy() { compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*/crates" >/dev/null; }

deny check licenses bans sources
if timeout 60 .pipelabs/tools/checks/bin/cargo-deny --locked --log-level off fetch db >/dev/null 2>&1; then
    deny check advisories
elif has_copy; then
    say "RustSec's list cannot be fetched: its copy of an earlier run is used"
    deny --offline check --disable-fetch advisories
else
    say "RustSec's list cannot be fetched and there is no copy: known holes were NOT looked for"
fi
