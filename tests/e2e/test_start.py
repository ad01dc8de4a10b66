"""Starting as it is in the world: variables that others have set, logs at any level, models that take their time, signals before all is there."""
import errno
import os
import re
import signal
import socket
import subprocess
import time

import httpx
import pytest
from conftest import DYNAMO, MODEL, MODEL_FILE, PATIENCE, build_library, children_of, free_port, wait_until, web

SERVICE = "tcp://10.96.12.7:8000"  # what Kubernetes puts into DYN_PORT for a Service named "dyn"
BARE = {name: value for name, value in os.environ.items() if not name.startswith("DYN_")}


def run(*arguments, **variables):
    return subprocess.run([DYNAMO, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE, env={**BARE, **variables})


# ---- variables ----


def test_variables_of_other_commands_are_not_read():
    wrong = {"DYN_PORT": SERVICE, "DYN_NUM_WORKERS": "0", "DYN_HTTP_PORT": SERVICE, "DYN_WORKERS": "many", "DYN_KV_EVENTS": "perhaps"}
    assert run("docs", "metrics", **wrong).returncode == 0
    assert run("model", MODEL_FILE, **wrong).returncode == 0


@pytest.mark.parametrize("command, variable, value", [
    ("worker", "DYN_THREADS", "many"), ("worker", "DYN_PORT", "70000"), ("worker", "DYN_DISAGGREGATION_MODE", "both"),
    ("frontend", "DYN_KV_EVENTS", "perhaps"), ("frontend", "DYN_MAX_LOCAL_PREFILL_LENGTH", "long"), ("frontend", "DYN_NAMESPACE", "a/b"),
    ("serve", "DYN_WORKERS", "-1"), ("mocker", "DYN_NUM_WORKERS", "0"), ("hub", "DYN_LOGGING_JSONL", "perhaps"), ("hub", "DYN_LOG", "loud")])
def test_a_wrong_value_is_said_with_the_variable_that_it_came_from(command, variable, value):
    done = run(command, **{variable: value})
    assert done.returncode == 2
    assert variable in done.stderr and "Kubernetes" not in done.stderr


@pytest.mark.parametrize("command, variable, flag", [("worker", "DYN_PORT", "--port"), ("frontend", "DYN_HTTP_PORT", "--http-port")])
def test_a_services_variable_is_refused_with_the_remedy(command, variable, flag):
    done = run(command, **{variable: SERVICE})
    assert done.returncode == 2
    for said in (variable, SERVICE, "enableServiceLinks: false", f"Unset {variable}, or give {flag}"):
        assert said in done.stderr


def test_a_flag_wins_over_a_variable_that_is_wrong():
    done = run("worker", "--port", "0", "--hub", f"127.0.0.1:{free_port()}", "--startup-timeout", "1", DYN_PORT=SERVICE)
    assert done.returncode == 1 and "DYN_PORT" not in done.stderr


def test_a_wrong_flag_is_not_put_down_to_a_variable_that_is_right():
    done = run("worker", "--port", "70000", DYN_PORT="7000")
    assert done.returncode == 2 and "70000" in done.stderr and "DYN_PORT" not in done.stderr


@pytest.mark.parametrize("port", ["a free one", SERVICE])
def test_serve_hands_no_variable_on_that_breaks_its_workers(start_server, port):
    variables = {"DYN_PORT": str(free_port()) if port == "a free one" else port, "DYN_ANNOUNCE_HOST": "203.0.113.1"}
    server = start_server("--workers", "2", env=variables)
    assert web.post(f"{server.url}/v1/completions", json={"model": MODEL, "prompt": "Hi", "max_tokens": 1}).status_code == 200


def test_a_flag_of_serve_wins_over_its_variable_in_the_processes_too(start_server):
    server = start_server("--router-mode", "round-robin", env={"DYN_ROUTER_MODE": "random"})
    assert re.search(r"serving .*router_mode=round-robin", server.log())


# ---- readiness ----


def test_each_worker_goes_by_its_name_in_the_log_of_serve(start_server):
    server = start_server("--workers", "2")
    said = lambda: sorted(re.findall(r"^(\S+) \| .*worker ready worker=(\S+) ", server.log(), re.MULTILINE))
    wait_until(lambda: len(said()) == 2)
    assert said() == [("worker-1", "worker-1"), ("worker-2", "worker-2")]



def is_answered(url):
    try:
        return web.post(f"{url}/v1/completions", json={"model": MODEL, "prompt": "Hi", "max_tokens": 1}).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("flags, variables", [([], {"DYN_LOG": "warn"}), (["--log", "off"], {}), (["--log-json"], {"DYN_LOG": "error"})])
def test_serve_starts_whatever_is_logged(flags, variables):
    port = free_port()
    command = [DYNAMO, "serve", "--model-path", MODEL_FILE, "--served-model-name", MODEL, "--http-host", "127.0.0.1", "--http-port", str(port), *flags]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**BARE, **variables})
    try:
        wait_until(lambda: process.poll() is not None or is_answered(f"http://127.0.0.1:{port}"))
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE)[1]
        assert (process.returncode, said) == (0, "")
    finally:
        process.kill()
        process.wait(PATIENCE)


def test_serve_starts_without_standard_streams():
    port = free_port()
    command = [DYNAMO, "serve", "--model-path", MODEL_FILE, "--served-model-name", MODEL, "--http-host", "127.0.0.1", "--http-port", str(port)]
    process = subprocess.Popen(command, preexec_fn=lambda: os.closerange(0, 3))
    try:
        wait_until(lambda: process.poll() is not None or is_answered(f"http://127.0.0.1:{port}"))
        assert os.readlink(f"/proc/{process.pid}/fd/2") == "/dev/null"  # and no file or socket of its own, for its log to go into
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait(PATIENCE)


# A library that a process loads: whoever opens held.gguf first waits until a FIFO has had a writer, and that one has left.
GATE = r"""
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <stdarg.h>
    #include <stdlib.h>
    #include <string.h>
    #include <unistd.h>
    static void wait_at_gate(const char* path) {
      static int has_waited;
      if (strstr(path, "/held.gguf") == NULL || __sync_lock_test_and_set(&has_waited, 1)) return;
      int (*open_next)(const char*, int, ...) = (int (*)(const char*, int, ...))dlsym(RTLD_NEXT, "open");
      int gate = open_next(getenv("GATE"), 0);
      char byte;
      while (read(gate, &byte, 1) > 0) continue;
      close(gate);
    }
    #define GATED(name)                                                                                     \
      int name(const char* path, int flags, ...) {                                                          \
        va_list rest;                                                                                       \
        va_start(rest, flags);                                                                              \
        int mode = va_arg(rest, int);                                                                       \
        va_end(rest);                                                                                       \
        wait_at_gate(path);                                                                                 \
        return ((int (*)(const char*, int, ...))dlsym(RTLD_NEXT, #name))(path, flags, mode);                \
      }
    GATED(open)
    GATED(open64)"""


@pytest.fixture
def held_model(tmp_path, monkeypatch):
    """A model whose loading takes as long as the test wants. Gives its path, and what waits until a process loads it and returns what lets it go on."""
    library = build_library(tmp_path, GATE)
    model, gate = tmp_path / "held.gguf", tmp_path / "gate"
    model.symlink_to(MODEL_FILE)
    os.mkfifo(gate)
    monkeypatch.setenv("GATE", str(gate))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    writers = []

    def is_waited_for():
        try:
            writers.append(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            assert error.errno == errno.ENXIO
        return writers

    def hold():
        wait_until(is_waited_for)
        return lambda: os.close(writers.pop())

    yield model, hold
    for writer in writers:
        os.close(writer)


def test_all_is_ready_when_a_request_is_answered_and_not_before(held_model, cluster, tmp_path):
    model, hold = held_model
    process, says = cluster("serve", "serve", "--model-path", model, "--served-model-name", MODEL, "--http-host", "127.0.0.1", "--http-port", "0")
    says("serving url=")
    go_on = hold()
    frontend = children_of(process.pid)["frontend"][0]
    os.kill(frontend, signal.SIGSTOP)
    go_on()
    says("worker ready")
    time.sleep(0.5)  # in which it must not be said
    assert "all processes are ready" not in (tmp_path / "serve.log").read_text()
    os.kill(frontend, signal.SIGCONT)
    url = says(r"all processes are ready .*url=(\S+)")
    assert is_answered(url)


# ---- signals ----


def test_sigterm_while_loading_ends_the_program(held_model):
    model, hold = held_model
    process = subprocess.Popen([DYNAMO, "serve", "--model-path", model, "--http-port", "0", "--workers", "2"], stderr=subprocess.PIPE, text=True)
    try:
        hold()
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE)[1]
    finally:
        process.kill()
    assert process.returncode == 0
    assert re.search(r"worker \d \| .*stopped while starting", said) and "all processes are ready" not in said


@pytest.mark.parametrize("command", ["worker", "frontend", "mocker"])
def test_sigterm_while_waiting_for_the_hub_ends_the_program(command):
    with socket.create_server(("127.0.0.1", 0)) as hub:  # takes connections and says nothing
        arguments = [DYNAMO, command, "--hub", "127.0.0.1:%d" % hub.getsockname()[1], "--startup-timeout", "86400"]
        arguments += ["--http-port", "0"] if command == "frontend" else ["--model-path", MODEL_FILE]
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        try:
            hub.settimeout(60)
            connection = hub.accept()[0]
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=PATIENCE)[1]
            connection.close()
        finally:
            process.kill()
    assert process.returncode == 0 and "stopped while starting" in said
