"""`dynamo chat` on a terminal: Ctrl-C stops an answer and not the program, and earlier lines come back."""
import os
import pty
import select
import subprocess
import time

from conftest import DYNAMO, PATIENCE


class Terminal:
    def __init__(self, *arguments):
        master, slave = pty.openpty()
        self.fd = master
        self.process = subprocess.Popen(
            [DYNAMO, "chat", *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env={**os.environ, "TERM": "xterm"}
        )
        os.close(slave)
        self.seen = ""

    def type(self, text):
        self.seen = ""
        os.write(self.fd, text.encode())

    def wait_for(self, text):
        self.wait_until(lambda: text in self.seen)

    def wait_until(self, is_there):
        until = time.monotonic() + PATIENCE
        while not is_there():
            assert time.monotonic() < until, f"not there: {self.seen!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                self.seen += os.read(self.fd, 4096).decode(errors="replace")


def test_ctrl_c_stops_the_answer_and_the_conversation_goes_on(server):
    terminal = Terminal("--url", server.url, "--temperature", "0", "--max-tokens", "2000")
    terminal.wait_for("> ")
    terminal.type("Write a very long story about a fox.\n")
    terminal.wait_until(lambda: len(terminal.seen) > 120)  # the echo of the question, and some of the answer
    os.kill(terminal.process.pid, 2)
    terminal.wait_for("[stopped]")
    server.wait_for('dynamo_engine_running_sequences{worker="worker-1"}', 0)
    terminal.wait_for("> ")
    terminal.type("/reset\n")
    terminal.wait_for("[forgotten]")
    terminal.type("What is the capital of France?\n")
    terminal.wait_for("first token after")
    assert "The capital of France is Paris." in terminal.seen
    terminal.type("\x1b[A\x1b[A")  # arrow up, twice: the line before last
    terminal.wait_for("/reset")
    terminal.type("\n")
    terminal.wait_for("[forgotten]")
    terminal.type("/quit\n")
    assert terminal.process.wait(PATIENCE) == 0
