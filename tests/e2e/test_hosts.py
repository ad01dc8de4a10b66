"""Where members listen, and hosts and ports as people write them: IPv6 with and without brackets on every plane."""
import json
import os
import re
import subprocess

import pytest
from conftest import DYNAMO, MODEL_FILE, PATIENCE, EtcdAndNats, listens_on, wait_until, web, why_no_ipv6

MODEL = ["--model-path", MODEL_FILE, "--served-model-name", "m", "--kv-cache-mib", 16, "--context-length", 256]
MOCK = ["--model-path", MODEL_FILE, "--served-model-name", "mock", "--num-blocks", 64, "--speedup-ratio", 100]


@pytest.fixture
def ipv6():
    if reason := why_no_ipv6():
        pytest.skip(reason)


def run(*arguments, **env):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DYN_")}
    return subprocess.run([DYNAMO, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE, env={**clean, **env})


def hub_of(cluster, *flags):
    return cluster("hub", "hub", "--port", 0, *flags)[1](r"hub ready address=(\S+)")


def addresses(process):
    return sorted(address for address, _ in listens_on(process.pid))


def instances(url):
    return web.get(f"{url}/health").json()["instances"]


def answer(url, count):
    """Asks when all workers are ready. Returns: the number of tokens of the answer, of four."""
    wait_until(lambda: [one["state"] for one in instances(url)] == ["ready"] * count)
    model = web.get(f"{url}/v1/models").json()["data"][0]["id"]
    body = {"model": model, "prompt": list(range(1000, 1040)), "max_tokens": 4, "ignore_eos": True, "temperature": 0}
    reply = web.post(f"{url}/v1/completions", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()["usage"]["completion_tokens"]


@pytest.mark.parametrize("address, hub_flags", [("127.0.0.1", []), ("::1", ["--host", "::1"]), ("::1", ["--host", "[::1]"])])
def test_members_listen_on_loopback_and_nowhere_else_when_their_hub_does(cluster, address, hub_flags):
    if address == "::1" and (reason := why_no_ipv6()):
        pytest.skip(reason)
    hub, hub_says = cluster("hub", "hub", "--port", 0, *hub_flags)
    place = ["--hub", hub_says(r"hub ready address=(\S+)"), "--system-port", 0]
    worker, worker_says = cluster("worker", "worker", *MODEL, *place)
    prefill, prefill_says = cluster("prefill", "mocker", *MOCK, *place, "--disaggregation-mode", "prefill", "--num-workers", 2)
    decode, decode_says = cluster("decode", "decode-worker", *MODEL, *place)
    for says in (worker_says, prefill_says, decode_says):
        says("worker ready")
    assert addresses(hub) == [address]
    assert addresses(worker) == [address] * 2  # requests, system port
    assert addresses(prefill) == [address] * 5  # two workers' requests and hand-offs, system port
    assert addresses(decode) == [address] * 3


def test_members_of_etcd_and_nats_on_loopback_listen_there(cluster, etcd_and_nats):
    mocker, says = cluster("mocker", "mocker", *MOCK, *etcd_and_nats.flags, "--system-port", 0)
    says("worker ready")
    assert addresses(mocker) == ["127.0.0.1"] * 2


def test_a_frontend_listens_for_http_and_nothing_else(cluster):
    frontend, says = cluster("frontend", "frontend", "--hub", hub_of(cluster), "--http-port", 0, "--router-replica-sync")
    port = int(says(r"serving url=http://127.0.0.1:(\d+)"))
    assert listens_on(frontend.pid) == {("0.0.0.0", port)}


def test_frontends_announce_themselves_each_under_its_own_id_and_where_others_reach_them(cluster, etcd_and_nats):
    urls = [cluster(name, "frontend", *etcd_and_nats.flags, "--http-host", host, "--http-port", 0)[1](r"serving url=(\S+)")
            for name, host in (("everywhere", "0.0.0.0"), ("named", "127.0.0.2"))]

    def announced():
        lines = etcd_and_nats.ctl("get", "--prefix", "/dynamo/frontends/").splitlines()
        return dict(zip(lines[::2], map(json.loads, lines[1::2])))

    wait_until(lambda: len(announced()) == 2)
    found = announced()
    assert all(re.fullmatch(r"/dynamo/frontends/dynamo/[0-9a-f]{16}", key) for key in found)
    assert sorted(one["url"] for one in found.values()) == sorted(urls)
    assert [set(one) for one in found.values()] == [{"url", "namespace", "version"}] * 2


def test_a_host_that_is_named_is_listened_on_and_announced(cluster):
    address = hub_of(cluster)
    named, says = cluster("named", "mocker", *MOCK, "--hub", address, "--host", "127.0.0.2", "--system-port", 0)
    says("worker ready")
    announcing, says = cluster("announcing", "mocker", *MOCK, "--hub", address, "--announce-host", "127.0.0.3", "--system-port", 0)
    says("worker ready")
    _, frontend = cluster("frontend", "frontend", "--hub", address, "--http-host", "127.0.0.1", "--http-port", 0)
    url = frontend(r"serving url=(\S+)")
    assert answer(url, 2) == 4
    assert addresses(named) == ["127.0.0.2"] * 2 and addresses(announcing) == ["127.0.0.3"] * 2
    assert {one["address"].rsplit(":", 1)[0] for one in instances(url)} == {"127.0.0.2", "127.0.0.3"}


def test_an_announced_host_that_is_no_address_of_this_machine_opens_all_and_says_so(cluster):
    address = hub_of(cluster)
    mocker, says = cluster("mocker", "mocker", *MOCK, "--hub", address, "--announce-host", "203.0.113.9")
    assert "--announce-host 203.0.113.9" in says(r"\[WARN\].*--host says where to listen.*")
    says("worker ready")
    assert addresses(mocker) in (["::"], ["0.0.0.0"])
    narrow, says = cluster("narrow", "mocker", *MOCK, "--hub", address, "--announce-host", "203.0.113.9", "--host", "127.0.0.1")
    says("worker ready")
    assert addresses(narrow) == ["127.0.0.1"]


def test_the_system_port_is_opened_by_itself(cluster):
    mocker, says = cluster("mocker", "mocker", *MOCK, "--hub", hub_of(cluster), "--system-port", 0, "--system-host", "0.0.0.0")
    port = int(says(r"worker ready .*system_port=(\d+)"))
    assert ("0.0.0.0", port) in listens_on(mocker.pid) and addresses(mocker) == ["0.0.0.0", "127.0.0.1"]


@pytest.mark.parametrize("backend", ["tcp", "auto"])
def test_prefill_and_decode_workers_over_a_hub_on_ipv6(cluster, ipv6, backend):
    address = hub_of(cluster, "--host", "::1")
    common = [*MODEL, "--hub", address, "--disaggregation-transfer-backend", backend]
    prefill, prefill_says = cluster("prefill", "worker", "--log", "debug", *common, "--disaggregation-mode", "prefill")
    decode, decode_says = cluster("decode", "decode-worker", *common)
    _, frontend = cluster("frontend", "frontend", "--hub", address, "--http-host", "[::1]", "--http-port", 0)
    url = frontend(r"serving url=(\S+)")
    assert re.fullmatch(r"http://\[::1\]:\d+", url)
    assert answer(url, 2) == 4
    assert prefill_says(r"prompt sent request_id=\S+ status=ok backend=(\w+)") == ("tcp" if backend == "tcp" else "shm")
    assert {re.fullmatch(r"(\[::1\]):\d+", one["address"])[1] for one in instances(url)} == {"[::1]"}
    assert addresses(prefill) == addresses(decode) == ["::1"] * 2


def test_ipv6_with_and_without_brackets_is_the_same_to_every_flag(cluster, ipv6):
    address = hub_of(cluster, "--host", "[::1]")
    flags = [[flag, host] for flag in ("--host", "--announce-host") for host in ("::1", "[::1]")]
    workers = [cluster(f"mocker{number}", "mocker", *MOCK, "--hub", address, "--system-port", 0, "--disaggregation-mode", mode,
                       "--disaggregation-transfer-backend", "tcp", *flag)
               for number, (flag, mode) in enumerate(zip(flags, ("prefill", "prefill", "decode", "decode")))]
    for _, says in workers:
        says("worker ready")
    urls = [cluster(f"frontend{host}", "frontend", "--hub", address, "--http-host", host, "--http-port", 0)[1](r"serving url=(\S+)")
            for host in ("::1", "[::1]")]
    assert all(re.fullmatch(r"http://\[::1\]:\d+", url) for url in urls)
    assert [answer(url, 4) for url in urls] == [4, 4]
    for process, _ in workers:
        assert addresses(process) == ["::1"] * 3
    for command in (["chat", "--ask", "Hello", "--max-tokens", 4], ["bench", "--conversations", 2, "--input-tokens", 20, "--output-tokens", 2]):
        done = run(*command, "--url", urls[0])
        assert done.returncode == 0, done.stdout + done.stderr
    done = run("--log", "off", "ctl", "role", "decode-worker-2", "prefill", "--hub", address)
    assert done.stdout == "decode-worker-2 is prefill-worker-3 now\n", done.stdout + done.stderr


def test_etcd_and_nats_on_ipv6(cluster, ipv6, tmp_path):
    running = EtcdAndNats(tmp_path, "[::1]")
    try:
        mocker, says = cluster("mocker", "mocker", *MOCK, *running.flags)
        says("worker ready")
        _, frontend = cluster("frontend", "frontend", *running.flags, "--http-host", "::1", "--http-port", 0)
        assert answer(frontend(r"serving url=(\S+)"), 1) == 4
        assert addresses(mocker) == ["::1"]
    finally:
        running.stop()


@pytest.mark.parametrize("command", ["worker", "decode-worker", "mocker", "frontend"])
def test_a_hub_without_brackets_is_refused_with_the_remedy(command):
    for way in ({"flags": ["--hub", "::1:4799"]}, {"env": {"DYN_HUB": "::1:4799"}}):
        done = run(command, *way.get("flags", []), **way.get("env", {}))
        assert done.returncode == 2
        assert all(part in done.stderr for part in ("--hub", "'::1:4799'", "write [::1]:4799")), done.stderr


@pytest.mark.parametrize("arguments, said", [
    (["hub", "--host", "[::1"], "--host: '[::1'"),
    (["hub", "--host", "127.0.0.1:80"], "write the host alone, 127.0.0.1"),
    (["worker", "--host", "a b"], "--host: 'a b'"),
    (["mocker", "--announce-host", "[node]"], "--announce-host: '[node]'"),
    (["worker", "--system-host", "http://x"], "--system-host: 'http://x'"),
    (["frontend", "--http-host", "::1]"], "--http-host: '::1]'"),
    (["frontend", "--hub", "127.0.0.1"], "write 127.0.0.1:PORT"),
    (["frontend", "--hub", "127.0.0.1:0"], "1 to 65535"),
    (["ctl", "role", "worker-1", "prefill", "--hub", "::1:4730"], "write [::1]:4730"),
])
def test_what_is_no_host_is_named_with_its_flag(arguments, said):
    done = run(*arguments)
    assert done.returncode == 2 and said in done.stderr, done.stderr


@pytest.mark.parametrize("env, said", [
    ({"ETCD_ENDPOINTS": "http://::1:2379"}, "write [::1]:2379"),
    ({"ETCD_ENDPOINTS": "http://[::1]:2379", "NATS_SERVER": "nats://::1:4222"}, "write [::1]:4222"),
])
def test_urls_of_etcd_and_nats_without_brackets_are_refused_with_the_remedy(env, said):
    done = run("frontend", "--http-port", 0, **env)
    assert done.returncode == 1 and said in done.stderr, done.stderr


def test_a_taken_system_port_is_named_with_its_own_flag(cluster):
    hub = hub_of(cluster)
    done = run("mocker", *MOCK, "--hub", hub, "--system-port", hub.rsplit(":", 1)[1])
    assert done.returncode == 1 and "--system-port" in done.stderr and "--http-port" not in done.stderr, done.stderr


def test_an_announced_host_that_nobody_can_connect_to_is_refused(cluster):
    done = run("mocker", *MOCK, "--hub", hub_of(cluster), "--announce-host", "0.0.0.0")
    assert done.returncode == 1 and "--announce-host 0.0.0.0" in done.stderr, done.stderr
