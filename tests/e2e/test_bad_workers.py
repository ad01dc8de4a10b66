"""Workers that are of another kind, broken or mute, beside a healthy one: named in the log, and no request fails for them.

Each bad worker is a simulated one with somebody between it and the frontend who changes what it says: the worker listens on
127.0.0.1, and announces 127.0.0.2.
"""
import shutil
import signal
import socket
import struct
import threading

import pytest
from conftest import MODEL_FILE, PATIENCE, wait_until, web

HELLO, REQUEST, CHUNK, END, ERROR = 1, 2, 3, 4, 5  # types of frames; docs/reference/wire.md
GENERATE, FETCH_MODEL, FETCH_BLOCKS = 1, 2, 3  # kinds of requests; src/wire/messages.proto


def frame(kind, stream, payload=b""):
    return struct.pack("<IBBHI", len(payload), kind, 0, 0, stream) + payload


class Meddler:
    """Relays a worker's connections on another address. meddle(kind, request, stream, payload) returns the bytes that the frontend
    gets instead of a frame of the worker's; `request` is the kind of the request that the frame answers."""

    def __init__(self, address, meddle):
        host, port = address.split(":")
        self.meddle = meddle
        self.worker = ("127.0.0.1", int(port))
        self.listener = socket.create_server((host, int(port)))
        self.sockets = [self.listener]
        threading.Thread(target=self.accept_all, daemon=True).start()

    def accept_all(self):
        while True:
            try:
                asker, _ = self.listener.accept()
                worker = socket.create_connection(self.worker, timeout=PATIENCE)
            except OSError:
                return
            worker.settimeout(None)
            self.sockets += [asker, worker]
            requests = {}
            for source, sink, pass_on in ((asker, worker, self.to_worker), (worker, asker, self.to_asker)):
                threading.Thread(target=self.relay, args=(source, sink, pass_on, requests), daemon=True).start()

    @staticmethod
    def relay(source, sink, pass_on, requests):
        try:
            stream = source.makefile("rb")
            while len(header := stream.read(12)) == 12:
                size, kind, _, _, number = struct.unpack("<IBBHI", header)
                if out := pass_on(requests, kind, number, stream.read(size)):
                    sink.sendall(out)
        except OSError:
            pass
        finally:
            for one in (source, sink):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    @staticmethod
    def to_worker(requests, kind, stream, payload):
        if kind == REQUEST:
            requests[stream] = payload[0] >> 3
        return frame(kind, stream, payload)

    def to_asker(self, requests, kind, stream, payload):
        return self.meddle(kind, requests.get(stream), stream, payload)

    def close(self):
        for one in self.sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()


class Place:
    """A hub, a frontend and simulated workers."""

    def __init__(self, start):
        self.start = start
        self.meddlers = []
        self.hub = self.start("hub", "hub", "--port", "0")[1](r"hub ready address=(\S+)")

    def frontend(self, *flags):
        _, self.frontend_says = self.start("frontend", "frontend", "--hub", self.hub, "--http-host", "127.0.0.1", "--http-port", "0", "--http-threads", "1",
                                           "--router-mode", "round-robin", *flags)
        self.url = self.frontend_says(r"serving url=(\S+)")

    def worker(self, name, *flags, model_file=MODEL_FILE):
        process, says = self.start(name, "mocker", "--hub", self.hub, "--model-path", model_file, "--served-model-name", "mock", "--speedup-ratio", "1000",
                                   "--host", "127.0.0.1", "--system-port", "-1", *flags)
        says("worker ready")
        return process

    def healthy_worker(self):
        self.worker("healthy", "--announce-host", "127.0.0.1")
        self.wait_until(lambda: "ready" in self.states().values())

    def bad_worker(self, meddle):
        self.worker("bad", "--announce-host", "127.0.0.2")
        self.meddlers.append(Meddler(self.frontend_says(r"worker found .*address=(127\.0\.0\.2:\d+)"), meddle))

    def instances(self):
        return web.get(f"{self.url}/health").json()["instances"]

    def states(self):
        return {one["worker"]: one["state"] for one in self.instances()}

    def ask(self):
        return web.post(f"{self.url}/v1/completions", json={"model": "mock", "prompt": "Hello", "max_tokens": 4})

    wait_until = staticmethod(wait_until)

    def close(self):
        for one in self.meddlers:
            one.close()


@pytest.fixture
def place(cluster):
    one = Place(cluster)
    yield one
    one.close()


def unchanged(kind, request, stream, payload):
    return frame(kind, stream, payload)


@pytest.mark.parametrize("change, said", [
    (lambda hello: hello.replace(b"\x08\x01", b"\x08\x63", 1), r"speaks protocol 99; this one, version \S+, speaks 1"),
    (lambda hello: hello.replace(b"dynamo", b"others", 1), r"the peer is in namespace 'others', this process in 'dynamo'"),
    (lambda hello: hello[:-8] + bytes(range(8)), r"instance 0706050403020100 answers where [0-9a-f]{16} was expected"),
], ids=["protocol", "namespace", "instance"])
def test_a_worker_of_another_version_namespace_or_instance_is_left_alone(place, change, said):
    place.frontend()
    place.healthy_worker()
    place.bad_worker(lambda kind, request, stream, payload: frame(kind, stream, change(payload) if kind == HELLO else payload))
    place.frontend_says(rf"not connected .*why=.*{said}")
    for _ in range(4):
        assert place.ask().status_code == 200
    assert sorted(place.states().values()) == ["connecting", "ready"]


GARBAGE = {
    "a frame too large": b"\xff" * 64,
    "a frame of unknown type": struct.pack("<IBBHI", 0, 77, 0, 0, 1),
    "reserved bits": struct.pack("<IBBHI", 0, CHUNK, 1, 0, 1),
    "no messages": None,
    "a frame that only askers send": "request",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_a_worker_that_answers_garbage_is_passed_over(place, what):
    def meddle(kind, request, stream, payload):
        if request != GENERATE:
            return unchanged(kind, request, stream, payload)
        if GARBAGE[what] is None:
            return frame(CHUNK, stream, b"\xff\xff\xff")
        return frame(REQUEST, stream) if GARBAGE[what] == "request" else GARBAGE[what]

    place.frontend()
    place.healthy_worker()
    place.bad_worker(meddle)
    place.wait_until(lambda: list(place.states().values()) == ["ready"] * 2)
    for _ in range(4):
        assert place.ask().status_code == 200
    place.frontend_says(r"a worker failed a request .*why=")


def test_a_model_is_fetched_from_another_worker_when_the_first_gives_garbage(place):
    place.frontend()
    place.bad_worker(lambda kind, request, stream, payload: unchanged(kind, request, stream, payload) if kind == HELLO else b"\xff" * 64)
    place.frontend_says("a model's description did not come")
    place.healthy_worker()
    assert place.ask().status_code == 200


def test_a_model_is_fetched_from_another_worker_when_the_first_says_nothing(place):
    place.frontend()
    place.bad_worker(lambda kind, request, stream, payload: b"" if request == FETCH_MODEL else unchanged(kind, request, stream, payload))
    place.healthy_worker()
    place.frontend_says("a model's description did not come")
    place.frontend_says("model served")
    assert place.ask().status_code == 200


def test_a_worker_that_never_says_hello_is_named_and_passed_over(place):
    place.frontend()
    place.healthy_worker()
    place.bad_worker(lambda *_: b"")
    place.frontend_says(r"not connected .*127\.0\.0\.2:\d+ takes connections and does not say hello")
    for _ in range(4):
        assert place.ask().status_code == 200


def mute_for_requests(kind, request, stream, payload):
    return b"" if request == GENERATE else unchanged(kind, request, stream, payload)


def test_a_worker_that_pings_and_never_answers_loses_its_requests_to_another(place):
    place.frontend("--first-token-timeout", "3")
    place.healthy_worker()
    place.bad_worker(mute_for_requests)
    place.wait_until(lambda: list(place.states().values()) == ["ready"] * 2)
    for _ in range(3):
        assert place.ask().status_code == 200
    place.frontend_says(r"a worker failed a request .*accepted the request and did not answer")


def test_a_request_that_only_a_mute_worker_can_take_ends_with_an_error(place):
    place.frontend("--first-token-timeout", "3")
    place.bad_worker(mute_for_requests)
    place.wait_until(lambda: "ready" in place.states().values())
    reply = place.ask()
    assert reply.status_code == 503 and "did not answer" in reply.text


def test_a_worker_that_falls_silent_in_mid_stream_loses_its_requests_to_another_and_the_text_is_the_same(place):
    chunks = []

    def mute_after_two(kind, request, stream, payload):
        if request != GENERATE:
            return unchanged(kind, request, stream, payload)
        chunks.append(stream)
        return unchanged(kind, request, stream, payload) if chunks.count(stream) <= 2 else b""

    place.frontend("--first-token-timeout", "3")
    place.worker("healthy", "--announce-host", "127.0.0.1", "--speedup-ratio", "1")
    place.worker("bad", "--announce-host", "127.0.0.2", "--speedup-ratio", "1")
    place.meddlers.append(Meddler(place.frontend_says(r"worker found .*address=(127\.0\.0\.2:\d+)"), mute_after_two))
    place.wait_until(lambda: list(place.states().values()) == ["ready"] * 2)
    body = {"model": "mock", "prompt": "Hello", "max_tokens": 60}
    replies = [web.post(f"{place.url}/v1/completions", json=body) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 200]
    assert replies[0].json()["choices"] == replies[1].json()["choices"]
    assert all(reply.json()["usage"]["completion_tokens"] == 60 for reply in replies)
    place.frontend_says(r"a worker failed a request .*tokens_so_far=[1-9].*fell silent in the middle of its answer")


@pytest.mark.parametrize("answer, said", [
    (b"", "a snapshot that is cut short"),
    (b"\x18\x01\x21" + bytes([5, 0, 0, 0, 0, 0, 0, 0]), "a snapshot whose sum is wrong"),
    (b"\xff\xff\xff", "a snapshot that cannot be read"),
])
def test_a_snapshot_that_is_not_whole_is_asked_for_again(place, answer, said):
    spoilt = []

    def meddle(kind, request, stream, payload):
        if request != FETCH_BLOCKS or len(spoilt) == 2:
            return unchanged(kind, request, stream, payload)
        spoilt.append(stream)
        return frame(END, stream, answer)

    place.frontend()
    place.healthy_worker()
    place.bad_worker(meddle)
    place.frontend_says(rf"no snapshot .*{said}")
    for _ in range(4):
        assert place.ask().status_code == 200
    place.wait_until(lambda: [one["index"] for one in place.instances()] == ["proven"] * 2)
    assert len(spoilt) == 2


def test_a_worker_with_another_block_size_is_refused_with_both_and_taken_in_when_it_is_alone(place):
    place.frontend()
    first = place.worker("first", "--announce-host", "127.0.0.1", "--page-size", "16")
    place.worker("second", "--announce-host", "127.0.0.1", "--page-size", "32")
    place.frontend_says(r"a worker is left out .*block size is 32, that of the other workers of 'mock' 16")
    place.wait_until(lambda: sorted(place.states().values()) == ["ready", "refused"])
    place.frontend_says("model served")
    assert place.ask().status_code == 200
    first.send_signal(signal.SIGTERM)
    assert first.wait(PATIENCE) == 0
    place.wait_until(lambda: list(place.states().values()) == ["ready"])
    place.wait_until(lambda: place.ask().status_code == 200)


def test_another_model_under_the_same_name_is_refused_with_both_digests(place, tmp_path):
    other = shutil.copy(MODEL_FILE, tmp_path / "other.gguf")
    with open(other, "r+b") as file:
        at = file.read(8 << 20).index(b"You are a helpful AI assistant")
        file.seek(at)
        file.write(b"You are a harmful AI assistant")
    place.frontend()
    place.worker("first", "--announce-host", "127.0.0.1")
    place.worker("second", "--announce-host", "127.0.0.1", model_file=other)
    place.frontend_says(r"a worker is left out .*another model under the name 'mock': digest [0-9a-f]{16}, the others' [0-9a-f]{16}")
    place.frontend_says("model served")
    assert place.ask().status_code == 200
