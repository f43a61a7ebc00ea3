# Untested here: no Docker engine on the development machine.
#
#   docker build -t sisu-pipeline .
#   docker run --rm --network host -e DATABASE_URL=postgresql://sisu@127.0.0.1:5432/app_local sisu-pipeline
#
# The whole stack (API, Dagster webserver, daemon, code server, workers) runs in one container. Workers alone:
#   docker run … sisu-pipeline worker --queue sbxQ
#
# Addresses. Both servers bind 127.0.0.1, which is the container's own loopback: with `--network host` that is the
# host's. To publish the API's port instead, set SISU_HOST=0.0.0.0; the API then starts only after a first token exists
# (`docker run … sisu-pipeline db migrate`, then `docker run … sisu-pipeline token create NAME --role operator`). The
# Dagster webserver always binds 127.0.0.1 and asks for a token once one exists: reach it through a proxy in the
# container's network namespace (docs/reverse-proxy.md).
#
# Postgres. Give DATABASE_URL. Without it the embedded server runs inside the container and lives as long as the volume
# /var/lib/sisu. SBX_PROVIDER=local needs user namespaces, which Docker's default seccomp profile denies.
FROM python:3.11-slim

# Repositories of intents, and branches that come out.
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/sisu

# First what changes rarely. The lock is complete, so pip has nothing to resolve; it checks every file's hash.
COPY requirements.lock ./
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock

# The package runs from its checkout: dagster_home/, workspace.yaml and fixtures/ are read from here.
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .

RUN useradd --system --create-home --home-dir /var/lib/sisu --shell /usr/sbin/nologin sisu \
    && chown -R sisu dagster_home
USER sisu
ENV SISU_HOME=/var/lib/sisu \
    PYTHONUNBUFFERED=1 \
    PORT=3001 \
    ADMIN_PORT=3002
VOLUME /var/lib/sisu
EXPOSE 3001 3002

# SIGTERM stops every process within ten seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/healthz', timeout=2)"]

ENTRYPOINT ["sisu"]
CMD ["start"]
