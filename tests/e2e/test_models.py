"""Several models behind one frontend; hundreds of simulated workers."""
import signal

from conftest import MODEL_FILE, PATIENCE, wait_until, web


def complete(url, model):
    return web.post(f"{url}/v1/completions", json={"model": model, "prompt": "Hello", "max_tokens": 4})


def test_models_come_and_go_with_their_workers(cluster):
    address = cluster("hub", "hub", "--port", "0")[1](r"hub ready address=(\S+)")
    common = ["--hub", address, "--model-path", MODEL_FILE, "--speedup-ratio", "1000"]
    url = cluster("frontend", "frontend", "--hub", address, "--http-host", "127.0.0.1", "--http-port", "0", "--router-mode", "kv")[1](r"serving url=(\S+)")
    assert web.get(f"{url}/v1/models").json()["data"] == []
    assert web.get(f"{url}/ready").status_code == 503
    assert complete(url, "Org/first").status_code == 404
    first, first_is = cluster("first", "mocker", *common, "--served-model-name", "Org/first")
    first_is("(worker ready)")
    cluster("second", "mocker", *common, "--served-model-name", "second", "--num-workers", "2")[1]("(worker ready)")
    wait_until(lambda: len(web.get(f"{url}/v1/models").json()["data"]) == 2)
    assert complete(url, "Org/first").status_code == 200
    assert complete(url, "second").status_code == 200
    assert web.get(f"{url}/v1/models/Org/first").json()["id"] == "Org/first"
    metrics = web.get(f"{url}/metrics").text
    for line in ("dynamo_discovery_connected 1", "dynamo_events_connected 1", "dynamo_events_dropped_messages 0"):
        assert line in metrics
    first.send_signal(signal.SIGTERM)
    assert first.wait(PATIENCE) == 0
    wait_until(lambda: complete(url, "Org/first").status_code == 404)
    assert complete(url, "second").status_code == 200


def test_hundreds_of_simulated_workers_in_one_process(cluster):
    address = cluster("hub", "hub", "--port", "0")[1](r"hub ready address=(\S+)")
    _, frontend_says = cluster("frontend", "frontend", "--hub", address, "--http-host", "127.0.0.1", "--http-port", "0", "--router-mode", "round-robin", "--http-threads", "1")
    url = frontend_says(r"serving url=(\S+)")
    cluster("mocker", "mocker", "--hub", address, "--model-path", MODEL_FILE, "--speedup-ratio", "1000", "--served-model-name", "mock",
            "--num-workers", "200", "--num-blocks", "256")[1]("(worker ready)")
    wait_until(lambda: [one["state"] for one in web.get(f"{url}/health").json()["instances"]].count("ready") == 200)
    names = {complete(url, "mock").headers["x-dynamo-worker"] for _ in range(200)}
    assert names == {f"worker-{i}" for i in range(1, 201)}
