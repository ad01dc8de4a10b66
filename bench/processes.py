"""Starts commands of build/release/dynamo on loopback for the benchmarks, and ends them."""
import pathlib
import re
import subprocess
import tempfile
import time

DYNAMO = pathlib.Path(__file__).resolve().parents[1] / "build/release/dynamo"


class Processes:
    def __init__(self):
        self.running = []

    def start(self, pattern, *arguments):
        """Starts a command of dynamo and waits for `pattern` in its log. Returns: the pattern's first group."""
        return self.start_other(pattern, [DYNAMO, *arguments])

    def start_other(self, pattern, command, environment=None):
        """Starts another program; the rest as start()."""
        log = tempfile.NamedTemporaryFile("w+", suffix=".log")
        process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=subprocess.STDOUT, env=environment)
        self.running.append((process, log))
        return self.wait_for(pattern)

    def wait_for(self, pattern):
        """Waits for `pattern` in the log of the command started last. Returns: its first group."""
        process, log = self.running[-1]
        until = time.monotonic() + 60
        while not (found := re.search(pattern, pathlib.Path(log.name).read_text())):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{pattern} did not come:\n{self.last_log()}")
            time.sleep(0.02)
        return found.group(1)

    def start_hub(self):
        return self.start(r"hub ready address=(\S+)", "hub", "--port", 0)

    def start_mocker(self, hub, *flags):
        self.start("(worker ready)", "mocker", "--hub", hub, "--served-model-name", "mock", "--host", "127.0.0.1",
                   "--system-port", -1, *flags)

    def start_listening(self, hub, *flags):
        """Starts a frontend. Returns: its URL, as soon as it listens."""
        return self.start(r"serving url=(\S+)", "frontend", "--hub", hub, "--http-host", "127.0.0.1", "--http-port", 0, *flags)

    def start_frontend(self, hub, *flags):
        """The same, once it serves the model."""
        url = self.start_listening(hub, *flags)
        self.wait_for("(model served)")
        return url

    def last_pid(self):
        return self.running[-1][0].pid

    def last_log(self):
        return pathlib.Path(self.running[-1][1].name).read_text()

    def stop_last(self):
        process, log = self.running.pop()
        process.terminate()
        process.wait(30)
        log.close()

    def stop(self):
        while self.running:
            self.stop_last()
