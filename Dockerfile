# Build: docker build -t fetcher .
# Run:   docker run --rm --read-only -v fetcher:/data fetcher fetch github:virtool/virtool
#
# No syntax line: nothing here needs a newer frontend than the engine's own, so none is downloaded.
# The base is pinned by its exact version. Its maintainers build a version anew when Debian mends
# something. To have one such build and no other, write its digest behind the tag (…-trixie@sha256:…):
#   docker buildx imagetools inspect python:3.13.16-slim-trixie --format '{{.Manifest.Digest}}'
FROM python:3.13.16-slim-trixie AS base

FROM base AS build

WORKDIR /src
COPY requirements.lock requirements-build.lock ./
# No package but those whose hashes are in the two files, and only wheels: there is no compiler here.
# What runs gets no pip; what builds stays behind.
RUN python -m venv /build \
    && python -m venv --without-pip /opt/fetcher \
    && /build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
        --requirement requirements-build.lock \
    && /build/bin/pip --python /opt/fetcher install --no-cache-dir --require-hashes --only-binary :all: \
        --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY fetcher ./fetcher
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /dist . \
    && /build/bin/pip --python /opt/fetcher install --no-cache-dir --no-deps --no-index \
        --find-links /dist fetcher

FROM base

# Which commit it is, its builder says:
#   docker build --label org.opencontainers.image.revision="$(git rev-parse HEAD)" ...
LABEL org.opencontainers.image.title="fetcher" \
      org.opencontainers.image.description="Keeps other systems supplied with GitHub releases and NCBI records." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"

RUN groupadd --system --gid 10001 fetcher \
    && useradd --system --no-log-init --uid 10001 --gid 10001 --home-dir /data --no-create-home \
        --shell /usr/sbin/nologin fetcher \
    && install --directory --owner fetcher --group fetcher --mode 700 /data
COPY --from=build /opt/fetcher /opt/fetcher

ENV PATH="/opt/fetcher/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

USER 10001:10001
# The embedded store lies here, unless the settings name another one.
WORKDIR /data
VOLUME /data
# Of the daemon; whoever moves api.listen moves this as well.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
# Exec form, so that SIGTERM arrives at the fetcher itself.
STOPSIGNAL SIGTERM
ENTRYPOINT ["fetcher"]
CMD ["--help"]
