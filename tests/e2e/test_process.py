"""The program as a process: command line, start, signals, idleness, memory."""
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time

import httpx
import pytest
from conftest import DYNAMO, MODEL, MODEL_FILE, PATIENCE, ROOT, web

LONG = {"model": MODEL, "messages": [{"role": "user", "content": "Write a story."}], "stream": True, "ignore_eos": True}


def run(*arguments, **options):
    return subprocess.run([DYNAMO, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE, **options)


def test_unknown_flag_and_command_are_named():
    done = run("serve", "--no-such-flag")
    assert done.returncode == 2 and "--no-such-flag" in done.stderr
    done = run("fly")
    assert done.returncode == 2 and "fly" in done.stderr
    done = run("serve", "--http-port", "70000")
    assert done.returncode == 2 and "70000" in done.stderr and "--http-port" in done.stderr


def test_a_process_may_have_as_many_connections_as_the_system_allows(cluster):
    few = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, few[1]))  # what the program inherits
    try:
        process, hub = cluster("hub", "hub", "--port", 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, few)
    hub("hub ready")
    assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (few[1], few[1])


def test_port_taken_is_said_with_its_number():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--model-path", MODEL_FILE, "--http-host", "127.0.0.1", "--http-port", port)
    assert done.returncode == 1
    assert str(port) in done.stderr and "use" in done.stderr


def test_missing_and_broken_models_are_said(tmp_path):
    done = run("serve", "--model-path", tmp_path / "absent.gguf", "--http-port", "0")
    assert done.returncode == 1 and "absent.gguf" in done.stderr and "ended with exit status 1" in done.stderr
    broken = tmp_path / "broken.gguf"
    shutil.copyfile(MODEL_FILE, broken)
    os.truncate(broken, 50_000_000)
    done = run("serve", "--model-path", broken, "--http-port", "0")
    assert done.returncode == 1 and "broken.gguf" in done.stderr
    done = run("model", broken)
    assert done.returncode == 1 and "broken.gguf" in done.stderr
    done = run("serve", "--http-port", "0", env={**os.environ, "DYNAMO_CACHE": str(tmp_path)})
    assert done.returncode == 1 and "fetch_model.sh" in done.stderr


def test_model_command_describes_the_default_model():
    done = run("model", MODEL_FILE)
    assert done.returncode == 0, done.stderr
    for fact in ("llama", "30", "576", "8192", "49152", "Q4_1", "23040"):
        assert fact in done.stdout.replace(",", ""), fact


@pytest.mark.parametrize("page", ["flags", "metrics", "keys"])
def test_reference_pages_are_what_the_program_prints(page):
    done = run("docs", page, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0
    assert (ROOT / f"docs/reference/{page}.md").read_text() == done.stdout


def test_sigterm_lets_a_stream_finish_and_exits_0(start_server):
    server = start_server("--drain-timeout", str(PATIENCE))
    pieces = []

    def read():
        with web.stream("POST", f"{server.url}/v1/chat/completions", json={**LONG, "max_tokens": 150}) as reply:
            pieces.extend(reply.iter_lines())

    reader = threading.Thread(target=read)
    reader.start()
    while not pieces:
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    reader.join(PATIENCE)
    assert pieces[-2] == "data: [DONE]" or pieces[-1] == "data: [DONE]"
    assert server.process.wait(PATIENCE) == 0


def test_drain_timeout_cancels_what_is_left(start_server):
    server = start_server("--drain-timeout", "0")
    with web.stream("POST", f"{server.url}/v1/chat/completions", json={**LONG, "max_tokens": 6000}) as reply:
        lines = reply.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0
        with pytest.raises(httpx.TransportError):
            for _ in lines:
                pass


def test_second_signal_exits_at_once(start_server):
    server = start_server("--drain-timeout", "3600")
    with web.stream("POST", f"{server.url}/v1/chat/completions", json={**LONG, "max_tokens": 6000}) as reply:
        lines = reply.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGINT)
        while "stopping" not in server.log():
            time.sleep(0.01)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 128 + signal.SIGINT


def cpu_seconds(pid):
    """Of all its threads; /proc/PID/stat counts whole ticks, which may be others'."""
    return sum(int(one.read_text().split()[0]) for one in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def resident_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+) kB", open(f"/proc/{pid}/status").read()).group(1))


def test_an_idle_server_uses_no_cpu_and_its_memory_is_bounded(start_server):
    server = start_server()
    web.post(f"{server.url}/v1/chat/completions", json={**LONG, "stream": False, "max_tokens": 8}).raise_for_status()
    pids = [server.process.pid, *(pid for some in server.children().values() for pid in some)]
    assert len(pids) == 4  # supervisor, hub, frontend, worker
    time.sleep(0.5)
    before = sum(map(cpu_seconds, pids))
    time.sleep(2)
    assert sum(map(cpu_seconds, pids)) - before <= 0.04  # heartbeats and pings
    assert sum(map(resident_kib, pids)) <= 500 * 1024


def test_round_robin_over_two_workers_uses_both(start_server):
    server = start_server("--workers", "2", "--router-mode", "round-robin")
    workers = [
        web.post(f"{server.url}/v1/completions", json={"model": MODEL, "prompt": "Hi", "max_tokens": 1}).headers["x-dynamo-worker"]
        for _ in range(4)
    ]
    assert sorted(workers) == ["worker-1", "worker-1", "worker-2", "worker-2"]


@pytest.mark.parametrize("level", ["scalar", "avx2", "avx512"])
def test_every_cpu_level_answers_alike(start_server, level):
    flags = open("/proc/cpuinfo").read()
    if (level == "avx2" and "avx2" not in flags) or (level == "avx512" and "avx512_bf16" not in flags):
        pytest.skip(f"this machine cannot run {level}")
    server = start_server(env={"DYNAMO_CPU": level})
    body = {"model": MODEL, "messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}
    reply = web.post(f"{server.url}/v1/chat/completions", json=body).json()
    assert reply["choices"][0]["message"]["content"] == "The capital of France is Paris."


def test_chat_command_asks_once_and_converses(server):
    done = run("chat", "--url", server.url, "--ask", "What is the capital of France?", "--temperature", "0")
    assert done.stdout == "The capital of France is Paris.\n", done.stderr
    assert re.search(r"first token after \d+ ms, [\d.]+ tokens/s \(8 tokens", done.stderr)
    done = run("chat", "--url", server.url, "--temperature", "0", "--max-tokens", "20", input="What is the capital of France?\n/reset\n/what\n/quit\nnot asked\n")
    assert done.stdout == "The capital of France is Paris.\n"
    assert "forgotten" in done.stderr and "/what" in done.stderr


def test_chat_command_says_when_nobody_answers():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    done = run("chat", "--url", f"http://127.0.0.1:{port}", "--ask", "hello")
    assert done.returncode == 1 and str(port) in done.stderr


def test_log_lines_can_be_json():
    process = subprocess.Popen([DYNAMO, "serve", "--model-path", MODEL_FILE, "--http-host", "127.0.0.1", "--http-port", "0"],
                               stderr=subprocess.PIPE, text=True, env={**os.environ, "DYN_LOGGING_JSONL": "1"})
    lines = []
    for line in process.stderr:
        lines.append(json.loads(line))
        if lines[-1]["message"] == "all processes are ready":
            break
    process.send_signal(signal.SIGTERM)
    lines += map(json.loads, process.communicate(timeout=PATIENCE)[1].splitlines())
    assert process.returncode == 0
    assert {"hub ready", "worker ready", "serving", "stopped"} <= {line["message"] for line in lines}
