"""Discovery and events that are not there, or not as they should be: said with address and remedy, and an end to the waiting."""
import os
import subprocess
import time

import pytest
from conftest import DYNAMO, MODEL_FILE, PATIENCE, Etcd, free_port


ENDLESS = ["--startup-timeout", 100 * PATIENCE]  # who ends all the same did not wait


def run(*arguments, **env):
    clean = {name: value for name, value in os.environ.items() if name not in ("DYN_HUB", "ETCD_ENDPOINTS", "NATS_SERVER")}
    return subprocess.run([DYNAMO, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE, env={**clean, **env})


@pytest.mark.parametrize("command", [["frontend", "--http-port", "0"], ["worker", "--model-path", MODEL_FILE], ["mocker", "--model-path", MODEL_FILE]])
def test_no_hub_is_said_with_its_address_after_the_startup_timeout(command):
    port = free_port()
    started = time.monotonic()
    done = run(*command, "--hub", f"127.0.0.1:{port}", "--startup-timeout", 1)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr and "hub" in done.stderr
    assert time.monotonic() - started > 0.5


def test_no_etcd_is_said_with_its_address():
    port = free_port()
    done = run("frontend", "--http-port", 0, "--startup-timeout", 1, ETCD_ENDPOINTS=f"http://127.0.0.1:{port}", NATS_SERVER="nats://127.0.0.1:1")
    assert done.returncode == 1
    assert f"http://127.0.0.1:{port}" in done.stderr and "ETCD_ENDPOINTS" in done.stderr


@pytest.mark.parametrize("endpoints, said", [("ftp://host:2379", "ftp"), ("http://host", "host:port"), ("http://a:1,https://b:1", "one scheme"), (",", "ETCD_ENDPOINTS")])
def test_wrong_etcd_endpoints_are_named_at_once(endpoints, said):
    done = run("frontend", "--http-port", 0, *ENDLESS, ETCD_ENDPOINTS=endpoints)
    assert done.returncode == 1 and said in done.stderr


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    running = Etcd(tmp_path_factory.mktemp("etcd"))
    yield running
    running.stop()


def test_no_nats_is_said_with_its_address(etcd):
    port = free_port()
    done = run("frontend", "--http-port", 0, "--startup-timeout", 2, ETCD_ENDPOINTS=etcd.url, NATS_SERVER=f"nats://127.0.0.1:{port}")
    assert done.returncode == 1 and f"127.0.0.1:{port}" in done.stderr
    done = run("frontend", "--http-port", 0, *ENDLESS, ETCD_ENDPOINTS=etcd.url, NATS_SERVER="http://127.0.0.1:4222")
    assert done.returncode == 1 and "http" in done.stderr


def test_the_first_endpoint_dead_is_passed_over(etcd):
    port = free_port()
    done = run("frontend", "--http-port", 0, "--startup-timeout", 8, ETCD_ENDPOINTS=f"http://127.0.0.1:{free_port()},{etcd.url}", NATS_SERVER=f"nats://127.0.0.1:{port}")
    assert "nats" in done.stderr.lower() and f"127.0.0.1:{port}" in done.stderr  # etcd was found: it is NATS that is missing


def test_etcd_credentials_are_checked(etcd):
    url = etcd.url
    etcd.ctl("user", "add", "root:secret")
    etcd.ctl("user", "grant-role", "root", "root")
    etcd.ctl("auth", "enable")
    try:
        nats = f"nats://127.0.0.1:{free_port()}"
        without = run("frontend", "--http-port", 0, *ENDLESS, ETCD_ENDPOINTS=url, NATS_SERVER=nats)
        assert without.returncode == 1 and "ETCD_AUTH_USERNAME" in without.stderr
        wrong = run("frontend", "--http-port", 0, *ENDLESS, ETCD_ENDPOINTS=url, NATS_SERVER=nats, ETCD_AUTH_USERNAME="root", ETCD_AUTH_PASSWORD="guess")
        assert wrong.returncode == 1 and "'root'" in wrong.stderr and "guess" not in wrong.stderr
        right = run("frontend", "--http-port", 0, "--startup-timeout", 2, ETCD_ENDPOINTS=url, NATS_SERVER=nats, ETCD_AUTH_USERNAME="root", ETCD_AUTH_PASSWORD="secret")
        assert "etcd" not in right.stderr.splitlines()[-1] and nats[7:] in right.stderr
    finally:
        etcd.ctl("--user", "root:secret", "auth", "disable")


def test_what_is_not_there_yet_is_refused_by_name():
    done = run("decode-worker", "--model-path", MODEL_FILE, "--disaggregation-transfer-backend", "mooncake")
    assert done.returncode == 2 and "mooncake" in done.stderr
    done = run("worker", "--tp", 2)
    assert done.returncode == 2 and "--tp" in done.stderr
    done = run("worker", "--namespace", "a.b")
    assert done.returncode == 2 and "a.b" in done.stderr
