# etcd and NATS as Debian packages them: the versions that the tests run against.
FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends etcd-server nats-server && rm -rf /var/lib/apt/lists/*
