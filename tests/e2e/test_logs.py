"""A log that is read too slowly, or by nobody any more, costs log lines and nothing else."""
import concurrent.futures
import fcntl
import json
import os
import signal
import subprocess

import httpx
import pytest
from conftest import DYNAMO, MODEL, MODEL_FILE, PATIENCE, Server, build_library, children_of, free_port, wait_until, web

REQUEST = {"model": MODEL, "prompt": "Count:", "temperature": 0, "ignore_eos": True}


class PipedServer:
    """A running `dynamo serve` whose log goes into a pipe with room for one page; nobody reads it."""

    def __init__(self, *flags, env=None):
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [DYNAMO, "serve", "--model-path", MODEL_FILE, "--served-model-name", MODEL, "--http-host", "127.0.0.1", "--http-port", str(port), *flags]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, env={**os.environ, **(env or {})})
        os.close(writer)

    def wait_until_ready(self):
        wait_until(lambda: self.process.poll() is not None or Server._is_ready(self.url))
        assert self.process.poll() is None

    def lose_reader(self):
        os.close(self.reader)
        self.reader = None

    def ask(self, client=httpx):
        return client.post(f"{self.url}/v1/completions", json={**REQUEST, "max_tokens": 1}, timeout=PATIENCE).status_code


@pytest.fixture
def piped_server():
    started = []

    def start(*flags, env=None):
        started.append(PipedServer(*flags, env=env))
        started[-1].wait_until_ready()
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.wait(PATIENCE)
        if server.reader is not None:
            server.lose_reader()


def test_sigterm_lets_a_stream_finish_when_the_logs_reader_has_gone(piped_server):
    server = piped_server("--drain-timeout", "600")
    server.lose_reader()
    with web.stream("POST", f"{server.url}/v1/completions", json={**REQUEST, "stream": True, "max_tokens": 100}) as reply:
        lines = reply.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert server.process.wait(PATIENCE) == 0


def test_a_worker_is_started_again_when_the_logs_reader_has_gone(piped_server):
    server = piped_server()
    server.lose_reader()
    before = children_of(server.process.pid)["worker"]
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: server.process.poll() is not None or children_of(server.process.pid).get("worker", before) != before)
    wait_until(lambda: server.process.poll() is not None or server.ask() == 200)
    assert server.process.poll() is None


def test_every_request_is_answered_while_nobody_reads_the_log(piped_server):
    server = piped_server(env={"DYN_LOG": "debug"})
    with httpx.Client() as client, concurrent.futures.ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: server.ask(client), range(500)))
    assert answers == [200] * 500
    server.process.send_signal(signal.SIGTERM)  # and it ends, with a second's patience
    assert server.process.wait(PATIENCE) == 0


def test_a_frontend_says_how_many_lines_its_log_lost(cluster):
    address = cluster("hub", "hub", "--port", "0")[1](r"hub ready address=(\S+)")
    port = free_port()
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen([DYNAMO, "frontend", "--hub", address, "--http-host", "127.0.0.1", "--http-port", str(port)], stderr=writer)
    os.close(writer)
    try:
        lost = lambda: [line for line in web.get(f"http://127.0.0.1:{port}/metrics").text.splitlines() if line.startswith("dynamo_log_dropped_lines_total ")]

        def is_counted():
            try:
                return float(lost()[0].split()[1]) > 0
            except httpx.TransportError:
                return False

        wait_until(is_counted)  # "serving", at least
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_a_line_without_an_end_is_passed_on_in_pieces(tmp_path, start_server):
    """The hub writes it: a library that it is made to load does."""
    library = build_library(tmp_path, r"""
        #include <stdio.h>
        #include <string.h>
        #include <unistd.h>
        __attribute__((constructor)) static void write_line(void) {
          static char command[64], bytes[200000];
          FILE* file = fopen("/proc/self/cmdline", "r");
          size_t size = fread(command, 1, sizeof(command) - 1, file);
          fclose(file);
          if (size < 11 || memcmp(command, "dynamo\0hub", 11) != 0) return;
          memset(bytes, '#', sizeof(bytes));
          if (write(2, bytes, sizeof(bytes)) < 0) _exit(9);
        }""")
    log = start_server(env={"LD_PRELOAD": str(library)}).log()
    pieces = [line.removeprefix("hub | ") for line in log.splitlines() if "#####" in line]
    assert sum(piece.count("#") for piece in pieces) == 200000
    assert [len(piece) for piece in pieces[:3]] == [65536] * 3 and len(pieces) == 4


@pytest.fixture
def closed_stdout():
    """What is written to it has lost its reader."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def test_commands_end_quietly_when_nobody_reads_what_they_print(server, closed_stdout, tmp_path):
    report = tmp_path / "report.json"
    for arguments in (["docs", "flags"], ["model", MODEL_FILE], ["chat", "--url", server.url, "--ask", "Write a story.", "--max-tokens", "4000"],
                      ["bench", "--url", server.url, "--conversations", "1", "--concurrency", "1", "--input-tokens", "8", "--output-tokens", "2", "--output", report]):
        done = subprocess.run([DYNAMO, *map(str, arguments)], stdout=closed_stdout, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, env={**os.environ, "DYN_LOG": "warn"})
        assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, ""), arguments
    assert json.loads(report.read_text())


def test_a_full_disk_is_said(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run([DYNAMO, "docs", "flags"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and "No space left" in done.stderr
