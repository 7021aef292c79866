# syntax=docker/dockerfile:1
# The gateway as an image: built here, run by a user without rights on a file system that needs no writing but /data.

FROM rust:1.95-bookworm AS builder
WORKDIR /build
# What the binary is made of and nothing else, so that a change of a test or a page rebuilds no image.
COPY Cargo.toml Cargo.lock ./
COPY profiles profiles
COPY conformance conformance
COPY src src
# The caches belong to the builder; the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin mhealth-gateway \
    && install -D -m 0755 target/release/mhealth-gateway /image/usr/local/bin/mhealth-gateway \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && install -d -o 10001 -g 10001 -m 0700 /image/data

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="mhealth-gateway" \
      org.opencontainers.image.description="One door from health apps and wearables into national eHealth systems" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.base.name="debian:bookworm-slim"
# Binary, certificate authorities for destinations, and the empty data directory with its owner.
COPY --from=builder /image/ /
# A number and no name: orchestrators can see that it is not root.
USER 10001:10001
ENV MHEALTH_DATA=/data \
    MHEALTH_LISTEN=0.0.0.0:8443
VOLUME /data
EXPOSE 8443
# It reads the same configuration as `serve` and asks by the public name, over TLS.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["mhealth-gateway", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["mhealth-gateway"]
CMD ["serve"]
