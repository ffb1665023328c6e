# syntax=docker/dockerfile:1

# The one binary; which role a container plays is its command.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# Queries are checked against what `cargo sqlx prepare` wrote into .sqlx: there is no database while building.
ENV SQLX_OFFLINE=true
# The commit; recorded with each event, so that one can tell which code wrote it. Left out, the version stands there.
ARG PIPELABS_BUILD=""
# The caches outlive the build, so the binary is copied out of them within the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p pipelabs && \
    install -D target/release/pipelabs /out/pipelabs

FROM debian:bookworm-slim
# Certificates: exchanges and the model's API are reached over TLS.
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin pipelabs
COPY --from=build /out/pipelabs /usr/local/bin/pipelabs
USER 10001
# Stopping is asked for with SIGTERM, which the binary listens for: it needs no init before it.
ENTRYPOINT ["pipelabs"]
CMD ["serve"]
