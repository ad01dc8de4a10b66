"""The multi-node walk-through with aggregated workers, as it is written: docs/multinode.md."""
import json
import re
import signal
import sys
import time

import pytest
from cluster import SCRIPTS, SERVED, ip, make_cluster
from conftest import listens_on, wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    running = make_cluster(tmp_path_factory)
    try:
        running.workers = [running.start_worker(host, f"{host}-worker{i}") for host in ("node1", "node2") for i in (1, 2)]
        running.frontend = running.start_frontend("frontend", "--router-mode", "kv")
        for worker in running.workers:
            worker.wait_for("worker ready")
        running.frontend.wait_for("serving url=")
        wait_until(lambda: running.ready() == 4, what="four ready workers")
        yield running
    finally:
        running.remove()


def test_every_worker_is_registered_as_readable_json(cluster):
    keys = cluster.keys("/dynamo/workers/")
    assert len(keys) == 4
    values = [json.loads(value) for value in keys.values()]
    assert {value["name"] for value in values} == {"worker-1", "worker-2", "worker-3", "worker-4"}
    assert {value["model"] for value in values} == {SERVED}
    assert {value["block_size"] for value in values} == {16}
    assert {value["address"].split(":")[0] for value in values} == {cluster.network.address("node1"), cluster.network.address("node2")}


def test_members_listen_where_they_say_and_nowhere_else(cluster):
    announced = {json.loads(value)["address"] for value in cluster.keys("/dynamo/workers/").values()}
    assert {f"{address}:{port}" for worker in cluster.workers for address, port in listens_on(worker.pid)} == announced
    assert listens_on(cluster.frontend.pid) == {("0.0.0.0", 8000)}


def test_a_worker_is_heard_on_the_address_it_is_told_to_announce(cluster):
    second = "10.77.0.201"
    ip("-n", cluster.network.space("node1"), "addr", "add", f"{second}/24", "dev", "eth0")
    worker = cluster.start_worker("node1", "second", "--announce-host", second, "--system-port", "0")
    try:
        worker.wait_for("worker ready")
        assert {address for address, _ in listens_on(worker.pid)} == {second} and len(listens_on(worker.pid)) == 2
        wait_until(lambda: cluster.ready() == 5)
    finally:
        worker.stop()
        ip("-n", cluster.network.space("node1"), "addr", "del", f"{second}/24", "dev", "eth0")
    wait_until(lambda: len(cluster.instances()) == 4)


def test_simple_request(cluster):
    out = cluster.ask("front", sys.executable, SCRIPTS / "simple_request.py")
    assert out.strip()


def test_multi_turn_lands_on_the_worker_of_the_first_turn(cluster):
    before = len(cluster.frontend.log())
    out = cluster.ask("front", sys.executable, SCRIPTS / "multi_turn.py")
    assert "First response:" in out and "Second response:" in out
    log = cluster.frontend.log()[before:]
    selected = re.findall(r"\[DEBUG\] Selected (worker-\d) \(best overlap: (\d+) blocks\)", log)
    assert len(selected) == 2 and selected[0][0] == selected[1][0], log
    assert int(selected[1][1]) >= 2
    scores = re.findall(r"\[DEBUG\] KV overlap scores: \{worker-1: (\d+) blocks, worker-2: (\d+) blocks, worker-3: (\d+) blocks, worker-4: (\d+) blocks\}", log)
    assert len(scores) == 2 and max(map(int, scores[1])) == int(selected[1][1]), log
    rates = [int(rate) for rate in re.findall(r"\[DEBUG\] Cache hit rate: (\d+)% for this request", log)]
    assert rates[1] >= 30


def test_usage_reports_the_cached_tokens(cluster):
    question = "Tell me about the history of the city of Rome in one sentence."
    first, _ = cluster.chat(question)
    again, answer = cluster.chat(question)
    assert first == again
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] >= 32


def test_ten_parallel_requests_reach_every_worker_every_time(cluster):
    for _ in range(3):
        before = len(cluster.frontend.log())
        out = cluster.ask("front", sys.executable, SCRIPTS / "load_test.py")
        assert len(re.findall(r"^Request \d+:", out, re.MULTILINE)) == 10, out
        assert "failed" not in out
        selected = set(re.findall(r"Selected (worker-\d)", cluster.frontend.log()[before:]))
        assert selected == {"worker-1", "worker-2", "worker-3", "worker-4"}


def test_explain_says_why(cluster):
    worker, answer = cluster.chat("Why?")
    request_id = answer["id"].removeprefix("chatcmpl-")
    decisions = json.loads(cluster.curl(f"/router/explain?request_id={request_id}"))["decisions"]
    assert [one["chosen"] for one in decisions] == [worker]
    assert len(decisions[0]["candidates"]) == 4
    costs = {one["worker"]: one["cost"] for one in decisions[0]["candidates"]}
    assert costs[worker] == min(costs.values())


def test_a_second_frontend_names_the_workers_alike_and_spreads_round_robin(cluster):
    second = cluster.start_frontend("frontend2", "--router-mode", "round-robin", host="infra")
    try:
        second.wait_for("serving url=")
        wait_until(lambda: cluster.ready("infra") == 4)
        names = lambda host: {one["instance"]: one["worker"] for one in cluster.instances(host)}
        assert names("front") == names("infra")
        seen = [cluster.chat(f"Number {i}", host="infra", max_tokens=1)[0] for i in range(8)]
        assert sorted(seen) == sorted([f"worker-{i}" for i in (1, 2, 3, 4)] * 2)
        assert len(cluster.keys("/dynamo/frontends/")) == 2
    finally:
        second.stop(signal.SIGINT)


def test_a_temperature_spreads_what_would_stick_to_one_worker(cluster):
    question = "The same question again and again, so that one worker has all of it in its cache."
    sticky = {cluster.chat(question, max_tokens=1)[0] for _ in range(5)}
    assert len(sticky) == 1
    spread = {"nvext": {"router_config_override": {"router_temperature": 5.0}}}
    assert len({cluster.chat(question, max_tokens=1, **spread)[0] for _ in range(50)}) == 4


def test_settings_in_the_store_change_live(cluster):
    slug = "qwen--qwen3-0-6b"
    put = lambda value: cluster.ask("infra", "env", "ETCDCTL_API=3", "etcdctl", f"--endpoints={cluster.env['ETCD_ENDPOINTS']}", "put", f"/dynamo/config/{slug}", value)
    try:
        put('{"overlap_score_weight": 7.5}')
        cluster.frontend.wait_for("settings changed")
        _, answer = cluster.chat("Hello", max_tokens=1)
        decision = json.loads(cluster.curl(f"/router/explain?request_id={answer['id'].removeprefix('chatcmpl-')}"))["decisions"][0]
        assert decision["overlap_weight"] == 7.5
        put("nonsense")
        cluster.frontend.wait_for("settings are ignored")
    finally:
        put('{"overlap_score_weight": 1.0}')


def test_garbage_in_the_store_is_named_and_harmless(cluster):
    key = "/dynamo/workers/dynamo/aggregated/00000000000000ff"
    etcdctl = ("env", "ETCDCTL_API=3", "etcdctl", f"--endpoints={cluster.env['ETCD_ENDPOINTS']}")
    cluster.ask("infra", *etcdctl, "put", key, "garbage")
    try:
        wait_until(lambda: any(one["state"] == "refused" and "JSON" in one["why"] for one in cluster.instances()))
        assert cluster.chat("Still there?", max_tokens=1)[0]
    finally:
        cluster.ask("infra", *etcdctl, "del", key)


def test_a_worker_with_another_block_size_is_refused_with_both(cluster):
    odd = cluster.start_worker("node1", "odd", "--page-size", "32")
    try:
        odd.wait_for("worker ready")
        wait_until(lambda: any(one["state"] == "refused" and "32" in one["why"] and "16" in one["why"] for one in cluster.instances()))
        assert cluster.ready() == 4
    finally:
        odd.stop()
    wait_until(lambda: len(cluster.instances()) == 4)


def test_etcd_away_for_longer_than_the_leases_changes_nothing_for_clients(cluster):
    cluster.etcd.stop(signal.SIGKILL)
    until = time.monotonic() + 30  # leases live 10 s
    while time.monotonic() < until:
        assert cluster.chat(f"Is anybody there at {time.monotonic()}?", max_tokens=1)[0]
        time.sleep(1)
    cluster.start_etcd("etcd-again")
    cluster.etcd.wait_for("ready to serve client requests")
    wait_until(lambda: len(cluster.keys("/dynamo/workers/")) == 4, what="every worker announced again")
    wait_until(lambda: cluster.ready() == 4)
    assert cluster.chat("And now?", max_tokens=1)[0]


def test_a_restarted_nats_loses_events_and_the_index_repairs_itself(cluster):
    cluster.nats.stop(signal.SIGKILL)
    for i in range(4):
        assert cluster.chat(f"Question number {i} without an event bus, long enough to fill a block or two of the cache.")[0]
    cluster.start_nats("nats-again")
    cluster.nats.wait_for("Server is ready")
    wait_until(lambda: [one.get("index") for one in cluster.instances()] == ["proven"] * 4, what="proven indexes")
    assert cluster.chat("And now?", max_tokens=1)[0]


def test_a_host_cut_off_and_back_serves_again(cluster):
    cluster.network.cut("node2")
    try:
        for i in range(4):
            worker, _ = cluster.chat(f"Question {i} with half of the cluster cut off.", max_tokens=1)
            assert worker
        wait_until(lambda: cluster.ready() == 2)
    finally:
        cluster.network.cut("node2", False)
    wait_until(lambda: cluster.ready() == 4)


def test_streams_survive_a_killed_worker_with_the_same_text(cluster):
    cluster.kill_in_mid_stream("worker", lambda name: next(
        worker for worker in cluster.workers if f"worker ready worker={name} " in worker.log()).stop(signal.SIGKILL))


def test_clean_up_leaves_no_key_and_no_process(cluster):
    assert cluster.frontend.stop(signal.SIGINT) == 0
    cluster.ask("node1", "pkill", "-f", "dynamo.sglang.worker.*--page-size", check=False)
    wait_until(lambda: all(worker.process.poll() is not None for worker in cluster.workers), what="the end of every worker")
    wait_until(lambda: cluster.keys() == {} or set(cluster.keys()) == {"/dynamo/config/qwen--qwen3-0-6b"}, what="an empty store")
