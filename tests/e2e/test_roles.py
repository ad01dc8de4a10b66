"""Workers that change roles while clients go on."""
import concurrent.futures
import re
import subprocess
import threading

from conftest import DYNAMO, PATIENCE, wait_until, web


def start_cluster(cluster, *modes):
    _, hub = cluster("hub", "hub", "--port", 0)
    address = hub(r"hub ready address=(\S+)")
    for number, mode in enumerate(modes):
        cluster(f"mocker-{number}", "mocker", "--hub", address, "--served-model-name", "mock", "--speedup-ratio", 20, "--num-blocks", 512, "--system-port", -1,
                "--disaggregation-mode", mode)[1]("worker ready")
    _, frontend = cluster("frontend", "frontend", "--hub", address, "--http-host", "127.0.0.1", "--http-port", 0, "--router-mode", "kv")
    url = frontend(r"serving url=(\S+)")
    wait_until(lambda: [one["state"] for one in instances(url)] == ["ready"] * len(modes))
    return address, url


def instances(url):
    return web.get(f"{url}/health").json()["instances"]


def set_role(hub, worker, role):
    return subprocess.run([DYNAMO, "--log", "off", "ctl", "role", worker, role, "--hub", hub, "--drain-timeout", "30"], capture_output=True, text=True, timeout=PATIENCE)


def test_roles_change_under_load_and_no_request_is_lost(cluster):
    hub, url = start_cluster(cluster, "prefill", "prefill", "decode", "decode")
    over = threading.Event()

    def ask_until_over(client):
        answered = 0
        while not over.is_set():
            reply = web.post(f"{url}/v1/completions",
                               json={"model": "mock", "prompt": [client * 100 + i for i in range(1, 50)], "max_tokens": 20, "ignore_eos": True})
            assert reply.status_code == 200, reply.text
            assert reply.json()["usage"]["completion_tokens"] == 20
            answered += 1
        return answered

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(ask_until_over, client) for client in range(8)]
        try:
            for worker, role, name in (("prefill-worker-2", "decode", "decode-worker-3"), ("decode-worker-1", "prefill", "prefill-worker-2"),
                                       ("decode-worker-3", "prefill", "prefill-worker-3"), ("prefill-worker-1", "aggregated", "worker-1")):
                done = set_role(hub, worker, role)
                assert done.returncode == 0 and done.stdout == f"{worker} is {name} now\n", done.stdout + done.stderr
                wait_until(lambda: name in [one["worker"] for one in instances(url) if one["state"] == "ready"])
        finally:
            over.set()
        assert all(client.result() > 0 for client in clients)
    assert sorted((one["worker"], one["role"]) for one in instances(url)) == [
        ("decode-worker-2", "decode"), ("prefill-worker-2", "prefill"), ("prefill-worker-3", "prefill"), ("worker-1", "aggregated")]
    wait_until(lambda: all(one["active_requests"] == one["active_blocks"] == one["queued_tokens"] == 0 for one in instances(url)))


def test_a_role_that_cannot_be_taken_is_refused_and_nothing_changes(cluster):
    hub, url = start_cluster(cluster, "prefill", "decode", "aggregated")
    before = instances(url)
    nobody = set_role(hub, "decode-worker-7", "prefill")
    assert nobody.returncode == 1 and "there is no worker 'decode-worker-7'; there are:" in nobody.stderr and "prefill-worker-1" in nobody.stderr
    fixed = set_role(hub, "worker-1", "decode")
    assert fixed.returncode == 1 and "start it with --disaggregation-mode prefill or decode" in fixed.stderr
    assert "is that already" in set_role(hub, "decode-worker-1", "decode").stdout
    assert [(one["worker"], one["instance"]) for one in instances(url)] == [(one["worker"], one["instance"]) for one in before]


def test_the_last_worker_that_answers_stays(cluster):
    hub, url = start_cluster(cluster, "prefill", "decode")
    last = set_role(hub, "decode-worker-1", "prefill")
    assert last.returncode == 1 and "decode-worker-1: this worker is the last that answers for 'mock'; others: prefill-worker-1 (prefill)." in last.stderr
    assert [one["state"] for one in instances(url)] == ["ready"] * 2
    assert set_role(hub, instances(url)[0]["instance"], instances(url)[0]["role"]).returncode == 0


def samples(port):
    """A worker's series of its engine and hand-offs: {name: {value of the label worker: value}}."""
    found = {}
    for line in web.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text.splitlines():
        if sample := re.fullmatch(r'(dynamo_(?:engine|handoff)_\w+)\{(?:[^}]*,)?worker="([^"]*)"[^}]*\} (\S+)', line):
            found.setdefault(sample[1], {})[sample[2]] = float(sample[3])
    return found


def test_metrics_show_the_name_that_a_worker_has_now(cluster):
    _, hub = cluster("hub", "hub", "--port", 0)
    address = hub(r"hub ready address=(\S+)")
    ports = [cluster(f"mocker-{number}", "mocker", "--hub", address, "--served-model-name", "mock", "--speedup-ratio", 20, "--num-blocks", 512,
                     "--system-port", 0, "--disaggregation-mode", mode)[1](r"worker ready .*system_port=(\d+)")
             for number, mode in enumerate(("prefill", "decode", "decode"))]
    _, frontend = cluster("frontend", "frontend", "--hub", address, "--http-host", "127.0.0.1", "--http-port", 0, "--router-mode", "round-robin")
    url = frontend(r"serving url=(\S+)")

    def ask(first):
        reply = web.post(f"{url}/v1/completions", json={"model": "mock", "prompt": list(range(first, first + 99)), "max_tokens": 5, "ignore_eos": True})
        assert reply.status_code == 200, reply.text

    wait_until(lambda: [one["state"] for one in instances(url)] == ["ready"] * 3)
    for first in (100, 200, 300, 400):
        ask(first)
    wait_until(lambda: all(samples(port)["dynamo_handoff_received_blocks_total"].popitem()[1] == 14 for port in ports[1:]))
    wait_until(lambda: all("dynamo_handoff_total" in samples(port) for port in ports[1:]))
    changing = next(port for port in ports if "decode-worker-1" in samples(port)["dynamo_engine_running_sequences"])
    before = samples(changing)
    assert set(before) >= {"dynamo_engine_generated_tokens_total", "dynamo_engine_step_seconds_count", "dynamo_handoff_total", "dynamo_handoff_seconds_count"}
    assert {name for series in before.values() for name in series} == {"decode-worker-1"}
    done = set_role(address, "decode-worker-1", "prefill")
    assert done.stdout == "decode-worker-1 is prefill-worker-2 now\n", done.stdout + done.stderr
    after = samples(changing)
    assert set(after) == set(before)
    assert {name for series in after.values() for name in series} == {"prefill-worker-2"}
    assert after["dynamo_engine_generated_tokens_total"]["prefill-worker-2"] == before["dynamo_engine_generated_tokens_total"]["decode-worker-1"] > 0
    wait_until(lambda: "prefill-worker-2" in [one["worker"] for one in instances(url) if one["state"] == "ready"])
    for first in (500, 600):
        ask(first)
    # What it begins to count in its new role is under its new name too.
    wait_until(lambda: samples(changing).get("dynamo_handoff_sent_total") == {"prefill-worker-2": 1})
