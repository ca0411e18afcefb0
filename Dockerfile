# The service, and nothing that it does not need at run time.
#
#   docker build -t ingest-actors .
#   docker run --rm --read-only --tmpfs /tmp -e KAFKA_BOOTSTRAP_SERVERS=broker:9092 -p 127.0.0.1:8000:8000 ingest-actors
#   ... -v spool:/var/lib/ingest-actors -e SPOOL_DIR=/var/lib/ingest-actors      with a disk for outages of Kafka
#
# For builds that never change, name the base by its digest: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# A package index other than pip's own, when it is given.
ARG PIP_INDEX_URL
WORKDIR /build
RUN ["python3", "-m", "venv", "--without-pip", "/opt/app"]
COPY deploy/constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
RUN ["python3", "-m", "pip", "--python", "/opt/app/bin/python", "install", "--no-cache-dir", "--constraint", "constraints.txt", "."]

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="ingest-actors" \
      org.opencontainers.image.description="Binance market data into Apache Kafka" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/app /opt/app
# Health and metrics are for those outside of the container; a token guards the console.
ENV PATH=/opt/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HTTP_HOST=0.0.0.0
# The place for a volume: SPOOL_DIR=/var/lib/ingest-actors. A new named volume takes its owner from here.
RUN ["install", "--directory", "--mode=0700", "--owner=10001", "--group=10001", "/var/lib/ingest-actors"]
# Empty and not writable for the service: a .env mounted here is read.
WORKDIR /srv
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 CMD ["python", "-m", "ingest_actors", "healthcheck"]
ENTRYPOINT ["python", "-m", "ingest_actors"]
