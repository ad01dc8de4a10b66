"""The multi-node walk-through with prefill and decode workers, typed as it is written into a terminal on each host."""
import json
import os
import re
import signal
import sys

import pytest
from cluster import SCRIPTS, SERVED, make_cluster
from conftest import MODEL_FILE, listens_on, wait_until, why_no_nixl

REPLICA = (SCRIPTS / "replica.sh").read_text()
FRONTEND = "python -m dynamo.frontend \\\n    --http-port 8000 \\\n    --router-mode kv\n"
NAMES = {"prefill-worker-1", "prefill-worker-2", "decode-worker-1", "decode-worker-2"}


def backend_between(backend, prefill_host, decode_host):
    if backend != "auto":
        return backend
    return "shm" if prefill_host == decode_host else "tcp"


@pytest.fixture(scope="module", params=["nixl", "tcp", "auto"])
def cluster(request, tmp_path_factory):
    env = {}
    if request.param == "nixl":
        if reason := why_no_nixl():
            pytest.skip(reason)
        # On hosts that share a kernel UCX would find shared memory; what crosses the bridge is the point here.
        env = {"VIRTUAL_ENV": sys.prefix, "UCX_TLS": "tcp,self"}
    running = make_cluster(tmp_path_factory)
    try:
        running.backend = request.param
        # What is typed is the walk-through's, but for where the model lies, and the backend.
        replica = REPLICA.replace("--model-path Qwen/Qwen3-0.6B", f"--model-path {MODEL_FILE}").replace("backend nixl", f"backend {request.param}")
        running.nodes = [running.open_terminal(host, host, **env) for host in ("node1", "node2")]
        for node in running.nodes:
            node.type(replica)
        running.frontend = running.open_terminal("front", "frontend")
        running.frontend.type(FRONTEND)
        running.frontend.wait_for("serving url=")
        wait_until(lambda: running.ready() == 4, what="four ready workers")
        yield running
    finally:
        running.remove()


def host_of(cluster, name):
    """The node whose terminal says that it runs this worker."""
    return next(node.name for node in cluster.nodes if re.search(rf"worker ready worker={name} ", node.log()))


def log_of_nodes(cluster):
    return "".join(node.log() for node in cluster.nodes)


def test_every_worker_is_registered_under_its_role(cluster):
    keys = {key: json.loads(value) for key, value in cluster.keys("/dynamo/workers/").items()}
    assert {value["name"] for value in keys.values()} == NAMES
    assert {host_of(cluster, name) for name in NAMES if name.startswith("prefill")} == {"node1", "node2"}
    assert {host_of(cluster, name) for name in NAMES if name.startswith("decode")} == {"node1", "node2"}
    assert {value["model"] for value in keys.values()} == {SERVED}
    health = {one["worker"]: one["state"] for one in cluster.instances()}
    assert health == dict.fromkeys(NAMES, "ready")


def test_workers_listen_on_their_nodes_address_and_nowhere_else(cluster):
    if cluster.backend == "nixl":
        pytest.skip("where NIXL listens is UCX's choice: UCX_NET_DEVICES")
    for node in cluster.nodes:
        for pid, command in cluster.pids(node.name).items():
            if "--disaggregation-mode" in command:
                places = listens_on(pid)
                assert len(places) == 2 and {address for address, _ in places} == {cluster.network.address(node.name)}, command


def test_the_three_scripts(cluster):
    assert cluster.ask("front", sys.executable, SCRIPTS / "simple_request.py").strip()
    before = len(cluster.frontend.log())
    out = cluster.ask("front", sys.executable, SCRIPTS / "multi_turn.py")
    assert "First response:" in out and "Second response:" in out
    log = cluster.frontend.log()[before:]
    for pool, expected in (("prefill", 1), ("decode", 2)):  # prefill workers do not see the answers, only what is asked again
        selected = re.findall(rf"\[DEBUG\] Selected ({pool}-worker-\d) \(best overlap: (\d+) blocks\)", log)
        assert len(selected) == 2 and selected[0][0] == selected[1][0], log
        assert int(selected[1][1]) >= expected, log
        scores = re.findall(rf"\[DEBUG\] KV overlap scores: \{{{pool}-worker-1: (\d+) blocks, {pool}-worker-2: (\d+) blocks\}}", log)
        assert len(scores) == 2 and max(map(int, scores[1])) == int(selected[1][1]), log
    order = re.findall(r"Selected (prefill|decode)-worker|Cache hit (rate)", log)
    assert ["".join(one) for one in order] == ["prefill", "decode", "rate"] * 2
    rates = [int(rate) for rate in re.findall(r"\[DEBUG\] Cache hit rate: (\d+)% for this request", log)]
    assert rates[1] >= 30

    for _ in range(3):
        before = len(cluster.frontend.log())
        out = cluster.ask("front", sys.executable, SCRIPTS / "load_test.py")
        assert len(re.findall(r"^Request \d+:", out, re.MULTILINE)) == 10 and "failed" not in out, out
        assert set(re.findall(r"Selected (\S+-worker-\d)", cluster.frontend.log()[before:])) == NAMES


def test_every_pair_moves_blocks_by_its_backend(cluster):
    before = len(log_of_nodes(cluster))
    pairs = {}
    number = 0
    while len(pairs) < 4:
        number += 1
        assert number < 60, pairs
        worker, answer = cluster.chat(f"{number}. Tell me something about the number {number}, in one sentence.", max_tokens=4,
                                      nvext={"router_config_override": {"router_temperature": 5.0}})
        decisions = json.loads(cluster.curl(f"/router/explain?request_id={answer['id'].removeprefix('chatcmpl-')}"))["decisions"]
        by_pool = {one["pool"]: one["chosen"] for one in decisions}
        assert by_pool["decode"] == worker and decisions[0]["prefill"] == by_pool["prefill"], decisions
        pairs[by_pool["prefill"], worker] = answer["id"].removeprefix("chatcmpl-")
    log = log_of_nodes(cluster)
    for (prefill, decode), request in pairs.items():
        wait_until(lambda: re.search(rf"prompt sent request_id={request} status=ok .*?blocks=\d", log_of_nodes(cluster)))
        sent = re.search(rf"prompt sent request_id={request} status=ok backend=(\w+) blocks=([1-9]\d*) ", log_of_nodes(cluster))
        assert sent, log[-3000:]
        assert sent.group(1) == backend_between(cluster.backend, host_of(cluster, prefill), host_of(cluster, decode))
    assert "a hand-off failed" not in log_of_nodes(cluster)[before:]


def test_an_answer_goes_on_when_its_decode_worker_is_killed(cluster):
    def kill(name):
        running = cluster.pids(host_of(cluster, name))
        os.kill(next(pid for pid, command in running.items() if command.startswith("dynamo.sglang.decode_worker")), signal.SIGKILL)

    killed = cluster.kill_in_mid_stream("decode-worker", kill)
    # The user starts it again.
    cluster.nodes[("node1", "node2").index(host_of(cluster, killed))].type(REPLICA[REPLICA.index("CUDA_VISIBLE_DEVICES=1"):].replace(
        "--model-path Qwen/Qwen3-0.6B", f"--model-path {MODEL_FILE}").replace("backend nixl", f"backend {cluster.backend}"))
    wait_until(lambda: cluster.ready() == 4, what="the worker again")


def test_clean_up_leaves_no_key_and_no_process(cluster):
    cluster.frontend.press_ctrl_c()
    for node in cluster.nodes:
        node.press_ctrl_c()
    left = lambda part: [command for host in ("node1", "node2", "front") for command in cluster.pids(host).values() if part in command]
    wait_until(lambda: not left("decode_worker") and not left("dynamo.frontend"), what="the end of what ran in the foreground")
    assert len(left("dynamo.sglang.worker")) == 2
    # The walk-through's three ways to end what runs in the background.
    for node in cluster.nodes:
        if cluster.backend == "nixl":
            node.type('pkill -f "dynamo.sglang.worker.*prefill"\n')
            break  # network namespaces have their processes in common: this finds those of both
        if cluster.backend == "tcp":
            node.type("jobs\nkill %1\n")
        if cluster.backend == "auto":
            node.close()
    wait_until(lambda: not left("dynamo"), what="the end of every worker")
    wait_until(lambda: cluster.keys() == {}, what="an empty store")
