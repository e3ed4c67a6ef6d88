# A static binary and the public certificate authorities, which the calls to AWS need; nothing else. BUILDER is any image with cargo, rustup and a C compiler; one that has the target and
# musl-tools already is taken as it is, without network access beyond the crates.
#
# The digest pins the toolchain of a release. For another version:
# docker buildx imagetools inspect docker.io/library/rust:VERSION-slim-bookworm
ARG BUILDER=docker.io/library/rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082

FROM ${BUILDER} AS build
WORKDIR /src
RUN set -eu; \
    if ! command -v musl-gcc || ! test -s /etc/ssl/certs/ca-certificates.crt; then \
      apt-get update; \
      apt-get install --yes --no-install-recommends ca-certificates musl-tools; \
      rm -rf /var/lib/apt/lists/*; \
    fi; \
    target="$(uname -m)-unknown-linux-musl"; \
    test -d "$(rustc --print sysroot)/lib/rustlib/$target" || rustup target add "$target"
COPY Cargo.toml Cargo.lock ./
COPY tests/it/Cargo.toml tests/it/
COPY src src
COPY docs/lint.md docs/
# What `identity-mapper version` prints beside the version.
ARG IDENTITY_MAPPER_COMMIT=
RUN set -eu; \
    target="$(uname -m)-unknown-linux-musl"; \
    cargo build --locked --release --bin identity-mapper --target "$target"; \
    mv "target/$target/release/identity-mapper" /identity-mapper

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /identity-mapper /identity-mapper
USER 65532:65532
ENTRYPOINT ["/identity-mapper"]
CMD ["run"]
