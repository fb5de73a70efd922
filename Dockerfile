# Threat Cloud as a container: one process, not root, that writes nowhere but in /data.
#
#   docker build -t threat-cloud .
#   docker run -d --name tc -p 127.0.0.1:4000:4000 -e TC_API_KEYS=… --read-only --tmpfs /tmp -v tc:/data threat-cloud
#
# docs/operations.md has the rest. To fix the base image for good: --build-arg BASE=python:3.13-slim-bookworm@sha256:…
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Without pip inside: what runs has no way to install anything.
RUN python -m venv --without-pip /opt/threat-cloud
WORKDIR /build
# Wheels only, each of a known hash: nothing of the dependencies is run while they are installed.
COPY requirements.lock ./
RUN pip --python /opt/threat-cloud/bin/python install --require-hashes --only-binary=:all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip --python /opt/threat-cloud/bin/python install --no-deps --no-build-isolation .

FROM ${BASE}
LABEL org.opencontainers.image.title="Threat Cloud" \
      org.opencontainers.image.description="Self-hosted, community-driven threat intelligence" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --system --gid 10001 threat-cloud \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin threat-cloud \
 && install -d -o 10001 -g 10001 -m 0700 /data
COPY --from=build /opt/threat-cloud /opt/threat-cloud
# 0.0.0.0 is the inside of the container. The server refuses it as long as there is no API key.
ENV PATH=/opt/threat-cloud/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TC_HOST=0.0.0.0 \
    TC_PORT=4000 \
    TC_DB_PATH=/data/threat-cloud.db \
    TC_LOG_FORMAT=json
# As a number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 4000
STOPSIGNAL SIGTERM
# The slim image has no curl. Whatever TLS certificate the server has, it need not be one for 127.0.0.1.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "import http.client as h, os, ssl, sys; e = os.environ; port = int(e.get('TC_PORT') or 4000); c = h.HTTPSConnection('127.0.0.1', port, timeout=4, context=ssl._create_unverified_context()) if e.get('TC_TLS_CERT') else h.HTTPConnection('127.0.0.1', port, timeout=4); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["threat-cloud"]
CMD ["serve"]
