# syntax=docker/dockerfile:1
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
COPY requirements/run.txt requirements/run.txt
RUN python -m venv /opt/midgate \
    && /opt/midgate/bin/pip install --no-cache-dir --require-hashes -r requirements/run.txt
# What builds the wheel stays out of the image. Compiled hot modules; without a compiler the same
# sources would run as plain Python.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir hatchling==1.33.0 hatch-mypyc==0.16.0 mypy==2.4.1
COPY pyproject.toml README.md LICENSE ./
COPY midgate midgate
COPY streams streams
COPY schemas schemas
COPY connectors connectors
COPY auditor auditor
COPY deploy deploy
RUN HATCH_BUILD_HOOK_ENABLE_MYPYC=1 \
    /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /opt/midgate/bin/pip install --no-cache-dir --no-deps /wheel/*.whl

FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="Midgate" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 midgate \
    && useradd --system --uid 10001 --gid midgate --home-dir /var/lib/midgate --create-home midgate
COPY --from=build /opt/midgate /opt/midgate
ENV PATH=/opt/midgate/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MIDGATE_LOG_FORMAT=json
WORKDIR /var/lib/midgate
USER 10001:10001
EXPOSE 6066
# The worker's own liveness is progress, not only an open port.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:6066/live', timeout=2)"]
ENTRYPOINT ["midgate"]
CMD ["worker"]
