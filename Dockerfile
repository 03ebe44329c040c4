# syntax=docker/dockerfile:1
# Build: docker build -t fetcher .
# Run:   docker run --rm -v fetcher:/data fetcher fetch github:virtool/virtool
FROM python:3.13-slim-bookworm AS build

WORKDIR /src
# Everything that is installed has a wheel, so no compiler is needed here either.
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY fetcher ./fetcher
RUN python -m venv /opt/fetcher \
    && /opt/fetcher/bin/pip install --no-cache-dir --only-binary :all: --no-binary fetcher \
        --constraint constraints.txt . \
    && /opt/fetcher/bin/pip uninstall --yes pip

FROM python:3.13-slim-bookworm

LABEL org.opencontainers.image.title="fetcher" \
      org.opencontainers.image.description="Keeps other systems supplied with GitHub releases and NCBI records." \
      org.opencontainers.image.licenses="MIT"

RUN useradd --system --uid 10001 --home-dir /data --create-home fetcher
COPY --from=build /opt/fetcher /opt/fetcher

ENV PATH="/opt/fetcher/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

USER 10001
# The embedded store lies here, unless the settings name another one.
WORKDIR /data
VOLUME /data
# Of the daemon; whoever moves api.listen moves this as well.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
# Exec form, so that SIGTERM arrives at the fetcher itself.
ENTRYPOINT ["fetcher"]
CMD ["--help"]
