"""Starts the real programs for the end-to-end tests: build/release/dynamo with the default model, on free ports."""
import contextlib
import ipaddress
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import httpx
import openai
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
DYNAMO = ROOT / "build/release/dynamo"
CACHE = pathlib.Path(os.environ.get("DYNAMO_CACHE", pathlib.Path.home() / ".cache/dynamo"))
MODEL_FILE = CACHE / "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL = "SmolLM2-135M-Instruct"
# Seconds after which something hangs, whatever else the machine does. Tests wait with no shorter limit: how long a thing takes is no result.
PATIENCE = 600
# For requests of tests: as patient, and each on a connection of its own.
web = httpx.Client(timeout=PATIENCE, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0))

# Engines compute on one thread each unless a test says otherwise: several run at once, and threads that wait for each
# other at every step lose more than they gain where there are more of them than processors.
os.environ.setdefault("DYN_THREADS", "1")


def why_no_nixl():
    """Why NIXL cannot be tested here; None if it can. Workers find the wheel by VIRTUAL_ENV=sys.prefix."""
    if not list(pathlib.Path(sys.prefix).glob("lib*/python*/site-packages/.nixl_cu*")):
        return f"the wheel nixl-cu13 is not installed in {sys.prefix}"
    return None


def free_port(host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.bind((host, 0))
        return one.getsockname()[1]


def why_no_ipv6():
    """Why IPv6 cannot be tested here; None if it can."""
    try:
        free_port("::1")
    except OSError as error:
        return f"this machine has no address ::1: {error}"
    return None


def listens_on(pid):
    """The (address, port) of every TCP socket on which a process listens."""
    process = pathlib.Path(f"/proc/{pid}")
    own = set()
    for one in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(one)):
                own.add(found[1])
    places = set()
    for table in ("tcp", "tcp6"):
        for line in (process / "net" / table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and inode in own:
                address, port = local.split(":")
                words = b"".join(bytes.fromhex(address[at:at + 8])[::-1] for at in range(0, len(address), 8))
                places.add((str(ipaddress.ip_address(words)), int(port, 16)))
    return places


def wait_until(is_so, what="it"):
    """`what` is said of a wait in vain: a text, or a function that makes one."""
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until, f"{what() if callable(what) else what} did not come"
        time.sleep(0.05)


def build_library(folder, source):
    """A shared library out of C, for LD_PRELOAD."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler (cc)")
    (folder / "library.c").write_text(source)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "library.so", folder / "library.c"], check=True)
    return folder / "library.so"


def children_of(parent):
    """The running dynamo processes that `parent` started, by command."""
    found = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            stat = (process / "stat").read_text().rsplit(")", 1)[1].split()
            command = (process / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(stat[1]) == parent and stat[0] != "Z" and len(command) > 1:
            found.setdefault(command[1].decode(), []).append(int(process.name))
    return found


class Server:
    """A running `dynamo serve`: hub, frontend and workers, each a process. Their log is in self.log_path."""

    def __init__(self, *flags, env=None):
        log = tempfile.NamedTemporaryFile(prefix="dynamo-", suffix=".log", delete=False)
        self.log_path = pathlib.Path(log.name)
        command = [DYNAMO, "serve", "--model-path", MODEL_FILE, "--served-model-name", MODEL]
        command += ["--http-host", "127.0.0.1", "--http-port", "0", *flags]
        self.process = subprocess.Popen(command, stderr=log, stdout=log, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        self.url = self._wait_for_url()

    def _wait_for_url(self):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if found := re.search(r"all processes are ready .*url=(\S+)", self.log()):
                return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"the server did not start:\n{self.log()}")

    @staticmethod
    def _is_ready(url):
        try:
            return web.get(f"{url}/ready").status_code == 200
        except httpx.TransportError:
            return False

    def log(self):
        return self.log_path.read_text()

    def address(self):
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def metrics(self):
        """Every sample of the frontend's and the workers' /metrics: {'name{labels}': value}."""
        ports = re.findall(r"worker ready .*system_port=(\d+)", self.log())
        urls = [self.url, *(f"http://127.0.0.1:{port}" for port in ports)]
        text = ""
        for url in urls:
            try:
                text += web.get(f"{url}/metrics").raise_for_status().text
            except httpx.ConnectError:  # of a worker that died since
                assert url != self.url
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def wait_for(self, metric, value):
        """Waits until a sample of /metrics has a value."""
        wait_until(lambda: self.metrics().get(metric) == value, lambda: f"{metric} is {self.metrics().get(metric)}; {value}")

    def children(self):
        """Processes by what they are: {"frontend": [pid], "worker": [pid, ...], "hub": [pid]}."""
        return children_of(self.process.pid)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        self.log_path.unlink(missing_ok=True)
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)


@pytest.fixture(scope="session")
def server():
    running = Server()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def client(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


@pytest.fixture
def start_server():
    """Starts more servers, and ends them with the test."""
    started = []

    def start(*flags, env=None):
        started.append(Server(*flags, env=env))
        return started[-1]

    yield start
    for running in started:
        running.kill()
        running.log_path.unlink(missing_ok=True)


@pytest.fixture
def cluster(tmp_path):
    """Starts commands of the program; each returns (process, wait_for(pattern))."""
    running = []

    def start(name, *arguments):
        log = tmp_path / f"{name}.log"
        with open(log, "w") as output:
            process = subprocess.Popen([DYNAMO, *map(str, arguments)], stdout=output, stderr=subprocess.STDOUT)
        running.append(process)

        def wait_for(pattern):
            until = time.monotonic() + PATIENCE
            while not (found := re.search(pattern, log.read_text())):
                assert process.poll() is None and time.monotonic() < until, f"{pattern!r} is not in:\n{log.read_text()}"
                time.sleep(0.02)
            return found.group(found.re.groups and 1)

        return process, wait_for

    yield start
    for process in reversed(running):
        process.kill()
        process.wait(PATIENCE)


class Etcd:
    """A real one, on ports of its own; `host` as a URL has it."""

    def __init__(self, folder, host="127.0.0.1"):
        self.skip_without("etcd", "etcdctl")
        port, peer = free_port(host.strip("[]")), free_port()
        self.url, self._data = f"http://{host}:{port}", folder / "etcd"
        self._command = ["etcd", "--data-dir", self._data, "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                         "--listen-peer-urls", f"http://127.0.0.1:{peer}"]
        self._start()

    @staticmethod
    def skip_without(*programs):
        for program in programs:
            if not shutil.which(program):
                pytest.skip(f"{program} is not installed")

    @staticmethod
    def run(command):
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _start(self):
        self._process = self.run(self._command)
        try:
            wait_until(lambda: self._try_ctl("endpoint", "health").returncode == 0)
        except BaseException:
            self._kill()
            raise

    def _kill(self):
        self._process.kill()
        self._process.wait(PATIENCE)

    def _try_ctl(self, *arguments):
        return subprocess.run(["etcdctl", f"--endpoints={self.url}", *arguments], capture_output=True, text=True, timeout=PATIENCE,
                              env={**os.environ, "ETCDCTL_API": "3"})

    def ctl(self, *arguments):
        """What etcdctl prints."""
        done = self._try_ctl(*arguments)
        done.check_returncode()
        return done.stdout

    def lose_everything(self):
        """As if its disk was gone."""
        self._kill()
        shutil.rmtree(self._data)
        self._start()

    def stop(self):
        self._kill()


class EtcdAndNats(Etcd):
    """Both; `flags` leads processes of ours to them."""

    def __init__(self, folder, host="127.0.0.1"):
        self.skip_without("nats-server")
        super().__init__(folder, host)
        bare = host.strip("[]")
        nats = free_port(bare)
        self.flags = ["--etcd-endpoints", self.url, "--nats-server", f"nats://{host}:{nats}"]
        self._nats = self.run(["nats-server", "--addr", bare, "--port", str(nats)])

    def stop(self):
        self._nats.kill()
        self._nats.wait(PATIENCE)
        super().stop()


@pytest.fixture
def etcd_and_nats(tmp_path):
    running = EtcdAndNats(tmp_path)
    yield running
    running.stop()
