#!/usr/bin/env bash
# Checks every query of the workspace against a fresh, private database and writes .sqlx anew.
#
# By psql alone: the binary that could migrate may not compile before this has run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV | head -n 1)
PATH="${programs:+$programs:}$PATH"
dir=$(mktemp -d)
as_server() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- env "PATH=$PATH" "$@"; else "$@"; fi; }
trap 'as_server pg_ctl -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
[ "$(id -u)" != 0 ] || chown postgres "$dir"

as_server initdb -D "$dir/data" -U queries --auth=trust -E UTF8 --locale=C >/dev/null
as_server pg_ctl -D "$dir/data" -w start >/dev/null \
    -o "-c listen_addresses='' -c unix_socket_directories='$dir' -c fsync=off" -l "$dir/log"
export PGHOST=$dir PGUSER=queries PGDATABASE=postgres
run() { psql -q -v ON_ERROR_STOP=1 "$@"; }

# What crates/store/src/logins.rs makes.
for role in owner compat writer projector query admin_query auditor auth relay operator vault alerts; do run -c "create role pipelabs_$role"; done
run -c "grant create on database postgres to pipelabs_owner, pipelabs_projector"
for migration in migrations/*.sql; do (echo "set role pipelabs_owner;"; cat "$migration") | run; done
# What projections/src/versions.rs makes, all in one schema.
run -c "create schema rm_all" -c "alter database postgres set search_path = rm_all, public"
{
    sed -n "/const TABLES: &'static str = r#\"/,/\"#;/p" projections/src/*.rs | grep -v '"#;\|const TABLES'
    cat projections/src/pnl/tables.sql
} | run

rm -rf .sqlx
mkdir .sqlx
export SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$PWD/.sqlx DATABASE_URL="postgres://queries@localhost/postgres?host=$dir"
# A macro looks again only when its file is compiled again.
touch crates/*/src/lib.rs projections/src/lib.rs
cargo check --workspace
echo "$(ls .sqlx | wc -l) queries hold"
