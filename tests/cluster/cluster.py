"""A cluster on one machine: network namespaces as hosts on one bridge, Debian's etcd and nats-server, our processes.

Needs root, iproute2, etcd and nats-server; what is missing is named and the tests are skipped.
"""
import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time

import pytest
from conftest import MODEL_FILE, PATIENCE, ROOT, wait_until

SERVED = "Qwen/Qwen3-0.6B"
HOSTS = ("infra", "node1", "node2", "front")
SCRIPTS = pathlib.Path(__file__).parent / "scripts"


def why_not():
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "etcd", "etcdctl", "nats-server", "pkill", "curl"):
        if not shutil.which(program):
            return f"{program} is not installed"
    space = f"dyn{os.getpid()}"
    try:
        for probe in (["netns", "add", space], ["-n", space, "link", "add", "br0", "type", "bridge"]):
            done = subprocess.run(["ip", *probe], capture_output=True, text=True)
            if done.returncode != 0:
                return f"network namespaces cannot be made here: ip {' '.join(probe)}: {done.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)
    return None


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Network:
    """Hosts by name, each a namespace with one address on a bridge that is in a namespace of its own."""

    def __init__(self):
        self.tag = f"d{os.getpid() % 100000}"
        self.switch = f"{self.tag}-sw"
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "br0", "up")
        for i, host in enumerate(HOSTS, start=1):
            space = self.space(host)
            ip("netns", "add", space)
            ip("-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", f"p{i}", "netns", self.switch)
            ip("-n", self.switch, "link", "set", f"p{i}", "master", "br0", "up")
            ip("-n", space, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "link", "set", "eth0", "up")

    def space(self, host):
        return f"{self.tag}-{host}"

    def address(self, host):
        return f"10.77.0.{HOSTS.index(host) + 1}"

    def cut(self, host, is_cut=True):
        """Takes the cable of a host out, or puts it in again."""
        ip("-n", self.switch, "link", "set", f"p{HOSTS.index(host) + 1}", "down" if is_cut else "up")

    def remove(self):
        for host in (*HOSTS, "sw"):
            subprocess.run(["ip", "netns", "del", f"{self.tag}-{host}"], check=False, capture_output=True)


class Process:
    """A program on a host. Its output is in self.log()."""

    def __init__(self, network, host, command, folder, name, env):
        self.log_path = folder / f"{name}.log"
        self.name = name
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", network.space(host), *map(str, command)],
            stdout=open(self.log_path, "w"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env, cwd=folder)

    @property
    def pid(self):
        return self.process.pid  # `ip netns exec` becomes the program itself

    def log(self):
        return self.log_path.read_text()

    def wait_for(self, pattern):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if found := re.search(pattern, self.log()):
                return found
            assert self.process.poll() is None, f"{self.name} ended:\n{self.log()}"
            time.sleep(0.05)
        raise AssertionError(f"{self.name}: '{pattern}' did not come:\n{self.log()}")

    def send(self, number):
        if self.process.poll() is None:
            os.kill(self.pid, number)

    def stop(self, number=signal.SIGTERM, limit=PATIENCE):
        self.send(number)
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
            raise


class Terminal:
    """An interactive shell on a host, as a user has one open. What it shows is in self.log()."""

    def __init__(self, network, host, folder, name, env):
        self.name = name
        self.log_path = folder / f"{name}.log"
        self.keyboard, screen = os.openpty()
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", network.space(host), "bash", "--norc", "--noediting", "-i"], stdin=screen, stdout=screen, stderr=screen,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), env={**env, "PS1": "$ "}, cwd=folder)
        os.close(screen)
        log = open(self.log_path, "wb", buffering=0)  # here, so that it exists for who reads it
        threading.Thread(target=self._read, args=[self.keyboard, log], daemon=True).start()

    def _read(self, screen, log):
        with log, contextlib.suppress(OSError):  # of a terminal that was closed
            while data := os.read(screen, 65536):
                log.write(data)

    def type(self, text):
        os.write(self.keyboard, text.encode())

    def press_ctrl_c(self):
        self.type("\x03")

    def close(self):
        """The window is closed: the shell gets SIGHUP, and sends it on to its jobs."""
        if self.keyboard is not None:
            os.killpg(self.process.pid, signal.SIGHUP)
            self.process.wait(PATIENCE)
            os.close(self.keyboard)
            self.keyboard = None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_for(self, pattern):
        wait_until(lambda: re.search(pattern, self.log()), f"{self.name}: '{pattern}' in {self.log_path}")
        return re.search(pattern, self.log())


class Cluster:
    def __init__(self, folder):
        self.folder = folder
        self.network = Network()
        self.processes = []
        self.terminals = []
        self.env = {
            **os.environ,
            "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",  # as where a virtual environment is active: Debian alone has no `python`
            "PYTHONPATH": str(ROOT / "compat/python"),
            "DYNAMO_BIN": str(ROOT / "build/release/dynamo"),
            "INFRA_NODE_IP": self.network.address("infra"),
            "ETCD_ENDPOINTS": f"http://{self.network.address('infra')}:2379",
            "NATS_SERVER": f"nats://{self.network.address('infra')}:4222",
            "DYN_LOG": "debug",
            "DYN_FRONTEND_IP": self.network.address("front"),
            "DYN_THREADS": "1",
            "DYN_KV_CACHE_MIB": "64",
        }
        for name in ("DYN_HUB", "DYNAMO_CPU"):
            self.env.pop(name, None)

    def run(self, host, *command, name, env=None):
        process = Process(self.network, host, command, self.folder, name, {**self.env, **(env or {})})
        self.processes.append(process)
        return process

    def open_terminal(self, host, name, **env):
        self.terminals.append(Terminal(self.network, host, self.folder, name, {**self.env, **env}))
        return self.terminals[-1]

    def pids(self, host):
        """Processes on a host, with their command lines."""
        out = subprocess.run(["ip", "netns", "pids", self.network.space(host)], capture_output=True, text=True, check=True).stdout
        found = {}
        for pid in out.split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found[int(pid)] = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        return {pid: command for pid, command in found.items() if command}

    def ask(self, host, *command, check=True):
        """Runs a command on a host to its end. Returns: what it printed."""
        done = subprocess.run(["ip", "netns", "exec", self.network.space(host), *map(str, command)], capture_output=True, text=True,
                              timeout=PATIENCE, env=self.env)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_etcd(self, name="etcd"):
        address = self.network.address("infra")
        self.etcd = self.run("infra", "etcd", "--data-dir", self.folder / "etcd", "--listen-client-urls", f"http://{address}:2379",
                             "--advertise-client-urls", f"http://{address}:2379", "--listen-peer-urls", "http://127.0.0.1:2380", name=name)

    def start_nats(self, name="nats"):
        self.nats = self.run("infra", "nats-server", "--addr", self.network.address("infra"), "--port", "4222", name=name)

    def start_worker(self, host, name, *flags):
        return self.run(host, sys.executable, "-m", "dynamo.sglang.worker", "--model-path", MODEL_FILE, "--served-model-name", SERVED,
                        "--page-size", "16", "--tp", "1", "--trust-remote-code", "--skip-tokenizer-init", *flags, name=name)

    def start_frontend(self, name, *flags, host="front"):
        return self.run(host, sys.executable, "-m", "dynamo.frontend", "--http-port", "8000", *flags, name=name)

    def url(self, path, host="front"):
        return f"http://{self.network.address(host)}:8000{path}"

    def curl(self, path, *flags, host="front"):
        return self.ask("node1", "curl", "-s", "--max-time", str(PATIENCE), *flags, self.url(path, host))

    def complete(self, body, on_text=lambda text: None):
        """Returns: the text of a streamed completion. on_text() is given what there is of it, each time that some comes."""
        command = ["ip", "netns", "exec", self.network.space("node1"), "curl", "-sN", "--max-time", str(PATIENCE), "-H", "content-type: application/json",
                   "-d", json.dumps({**body, "model": SERVED, "stream": True}), self.url("/v1/completions")]
        text, line = "", ""
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.env) as curl:
            for line in filter(str.strip, curl.stdout):
                if line.startswith("data: {"):
                    text += json.loads(line[6:])["choices"][0]["text"]
                    on_text(text)
        assert line == "data: [DONE]\n", line
        return text

    def kill_in_mid_stream(self, kind, kill):
        """Has kill(name) kill the worker that answers, `kind` and a number, and checks that the answer is what it would have been.
        Returns: its name."""
        body = {"prompt": "Once upon a time, in a small village,", "max_tokens": 150, "temperature": 0, "ignore_eos": True}
        expected = self.complete(body)
        before = len(self.frontend.log())
        killed = []

        def kill_once(text):
            if len(text) > 40 and not killed:
                killed.append(re.search(rf"Selected ({kind}-\d)", self.frontend.log()[before:]).group(1))
                kill(killed[0])

        assert self.complete(body, kill_once) == expected
        assert re.search(rf"\[DEBUG\] Worker {killed[0]} unhealthy, rerouting -> {kind}-\d", self.frontend.log()[before:])
        return killed[0]

    def chat(self, content, host="front", **more):
        """Returns: the worker that answered (None: no answer), and the answer."""
        body = {"model": SERVED, "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 20, **more}
        reply = self.curl("/v1/chat/completions", "-H", "content-type: application/json", "-i", "-d", json.dumps(body), host=host)
        head, answer = reply.split("\n\n", 1)
        worker = re.search(r"x-dynamo-worker: (\S+)", head)
        return worker.group(1) if worker else None, json.loads(answer)

    def instances(self, host="front"):
        try:
            return json.loads(self.curl("/health", host=host))["instances"]
        except (ValueError, AssertionError):
            return []

    def ready(self, host="front"):
        return [one["state"] for one in self.instances(host)].count("ready")

    def keys(self, prefix="/dynamo/"):
        out = self.ask("infra", "env", "ETCDCTL_API=3", "etcdctl", f"--endpoints={self.env['ETCD_ENDPOINTS']}", "get", "--prefix", prefix)
        lines = out.splitlines()
        return dict(zip(lines[::2], lines[1::2]))

    def remove(self):
        for terminal in self.terminals:
            with contextlib.suppress(Exception):
                terminal.close()
        for host in HOSTS:
            for pid, command in self.pids(host).items():
                if "dynamo" in command:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        for process in reversed(self.processes):
            with contextlib.suppress(Exception):
                process.send(signal.SIGCONT)
                process.stop(signal.SIGKILL, 10)
        self.network.remove()


def make_cluster(tmp_path_factory):
    reason = why_not()
    if reason:
        pytest.skip(reason)
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    cluster.start_etcd()
    cluster.start_nats()
    cluster.etcd.wait_for("ready to serve client requests")
    cluster.nats.wait_for("Server is ready")
    return cluster
