"""deploy/: what starts etcd and NATS."""
import os
import shutil
import socket
import subprocess

import pytest
import yaml
from conftest import PATIENCE, ROOT, free_port, why_no_ipv6

COMPOSE = ROOT / "deploy/docker-compose.yml"


def test_the_compose_file_is_one():
    """As `docker compose config` reads it, where there is one; its structure by the specification otherwise."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        subprocess.run(["docker", "compose", "-f", COMPOSE, "config", "-q"], check=True)
    compose = yaml.safe_load(COMPOSE.read_text())
    assert set(compose) <= {"services", "volumes", "networks", "name", "configs", "secrets"}
    known = {"build", "image", "command", "ports", "volumes", "restart", "environment", "healthcheck", "depends_on", "networks"}
    for name, service in compose["services"].items():
        assert set(service) <= known, name
        assert "image" in service or (ROOT / "deploy" / service["build"]["dockerfile"]).exists()
        assert all(isinstance(port, str) for port in service["ports"])
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"]
    published = {port.split(":")[0] for service in compose["services"].values() for port in service["ports"]}
    assert {"2379", "4222"} <= published


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_infra_goes_up_and_down(tmp_path, host):
    if host == "::1" and (reason := why_no_ipv6()):
        pytest.skip(reason)
    in_url = f"[{host}]" if ":" in host else host
    for program in ("etcd", "etcdctl", "nats-server"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    etcd, nats = free_port(host), free_port(host)
    env = {**os.environ, "DYNAMO_INFRA_DIR": str(tmp_path), "INFRA_HOST": host, "ETCD_PORT": str(etcd), "NATS_PORT": str(nats)}
    run = lambda verb: subprocess.run([ROOT / "deploy/infra.sh", verb], capture_output=True, text=True, env=env, timeout=PATIENCE)
    try:
        up = run("up")
        assert up.returncode == 0, up.stderr
        assert f"export ETCD_ENDPOINTS=http://{in_url}:{etcd}\n" in up.stdout
        assert f"export NATS_SERVER=nats://{in_url}:{nats}\n" in up.stdout
        assert run("up").stdout.count("runs already") == 2
        health = subprocess.run(["etcdctl", f"--endpoints=http://{in_url}:{etcd}", "endpoint", "health"], capture_output=True, text=True,
                                env={**os.environ, "ETCDCTL_API": "3"}, timeout=PATIENCE)
        assert health.returncode == 0, health.stderr
        with socket.create_connection((host, nats), timeout=PATIENCE) as connection:
            assert connection.recv(100).startswith(b"INFO")
    finally:
        assert run("down").returncode == 0
    assert run("status").stdout.count("does not run") == 2
