"""Whoever writes to the registry or speaks to a worker ends no process and gets into no answer."""
import json
import socket
import struct
import threading

import pytest
from conftest import MODEL_FILE, PATIENCE, wait_until, web
from test_bad_workers import CHUNK, END, ERROR, HELLO, REQUEST, frame

PING, PONG = 8, 9


def instances(url):
    return web.get(f"{url}/health").json()["instances"]


def ask(url):
    return web.post(f"{url}/v1/completions", json={"model": "mock", "prompt": "Hello", "max_tokens": 4})


class Place:
    """A simulated worker and frontends around etcd, of which the test writes keys too."""

    def __init__(self, start, etcd):
        self.start, self.etcd = start, etcd
        self.start("mocker", "mocker", *etcd.flags, "--served-model-name", "mock", "--speedup-ratio", 1000, "--system-port", -1)[1]("worker ready")
        self.key, self.value = etcd.ctl("get", "--prefix", "/dynamo/workers/").splitlines()
        self.url, self.says, self.process = self.frontend("frontend")

    def frontend(self, name):
        process, says = self.start(name, "frontend", *self.etcd.flags, "--http-host", "127.0.0.1", "--http-port", 0)
        url = says(r"serving url=(\S+)")
        wait_until(lambda: "ready" in [one["state"] for one in instances(url)])
        return url, says, process

    def put(self, key=None, **changed):
        self.etcd.ctl("put", key or self.key, json.dumps(json.loads(self.value) | changed))


@pytest.fixture
def place(cluster, etcd_and_nats):
    return Place(cluster, etcd_and_nats)


def test_a_second_key_of_an_instance_is_refused_by_frontends_that_run_and_that_start(place):
    second = place.key.replace("/aggregated/", "/decode/")
    place.put(second, role="decode")
    place.says("a worker is left out .*is announced already")
    for url in (place.url, place.frontend("later")[0]):
        assert ask(url).status_code == 200
        states = {one.get("key"): (one["state"], one.get("why")) for one in instances(url)}
        assert states[None] == ("ready", None)
        assert states[second][0] == "refused" and place.key in states[second][1]
    place.etcd.ctl("del", second)
    wait_until(lambda: [one["state"] for one in instances(place.url)] == ["ready"])
    assert ask(place.url).status_code == 200 and place.process.poll() is None


@pytest.mark.parametrize("member, value", [("name", "worker-1\r\nset-cookie: session=evil"), ("name", "worker-1\x1b[2J"), ("model", "mock\n"), ("address", "127.0.0.1:1\r\nx: y")])
def test_a_worker_that_says_what_no_worker_says_is_refused_and_named(place, member, value):
    assert ask(place.url).headers["x-dynamo-worker"] == "worker-1"
    place.put(**{member: value})
    place.says(rf"a worker is left out .*'{member}' is ")
    wait_until(lambda: [one["state"] for one in instances(place.url)] == ["refused"])
    assert f"'{member}' is " in instances(place.url)[0]["why"]
    reply = ask(place.url)
    assert reply.status_code in (404, 503) and "set-cookie" not in reply.headers
    place.put()
    wait_until(lambda: ask(place.url).status_code == 200)
    assert ask(place.url).headers["x-dynamo-worker"] == "worker-1"


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def text(number, value):
    """A field of a protobuf that has a length."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields_of(message):
    """The last value of each field."""
    found, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte, at = message[at], at + 1
            value, shift = value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            found[tag >> 3] = number()
            continue
        size = number() if tag & 7 == 2 else {1: 8, 5: 4}[tag & 7]
        found[tag >> 3], at = message[at:at + size], at + size
    return found


class Record:
    """Fields as workers tell them each other once; src/transfer/byte_record.h."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def numbers(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def text(self):
        size, = self.numbers("I")
        self.at += size
        return self.data[self.at - size:self.at]


def tcp_end_of(card):
    """Host, port, secret and version of backend tcp, of a pool card."""
    card = Record(card)
    card.numbers("II")
    card.text()
    card.numbers("4IBIIQQ")
    card.text()
    backends = {}
    for _ in range(*card.numbers("I")):
        name = card.text()
        backends[name] = card.text()
    end = Record(backends[b"tcp"])
    end.numbers("I")
    end.text()
    version, = end.numbers("I")
    host = end.text().decode()
    port, = end.numbers("H")
    return host, port, end.text(), version


def hello(instance=0):
    return frame(HELLO, 0, b"\x08\x01" + text(2, b"dynamo") + text(3, b"0") + b"\x21" + struct.pack("<Q", instance))


def read_frame(stream):
    header = stream.read(12)
    if len(header) < 12:
        raise EOFError
    size, kind, _, _, number = struct.unpack("<IBBHI", header)
    return kind, number, stream.read(size)


class StrangePrefillWorker:
    """Says that it is instance 7, and of each prompt that it is asked for that it is there, with `first_token` as the answer's first."""

    def __init__(self, prompt_tokens, first_token):
        self.prompt_tokens, self.first_token, self.asked = prompt_tokens, first_token, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        asker, _ = self.listener.accept()
        asker.sendall(hello(7))
        stream = asker.makefile("rb")
        try:
            while True:
                kind, _, payload = read_frame(stream)
                if kind == PING:
                    asker.sendall(frame(PONG, 0))
                if kind == REQUEST:
                    self.asked += 1
                    self.notify(fields_of(fields_of(payload)[5]))
        except (EOFError, OSError):
            pass

    def notify(self, prefill):
        host, port, secret, version = tcp_end_of(prefill[5])
        notice = b"\x09" + prefill[2] + b"\x10" + varint(prefill.get(3, 0)) + b"\x18" + varint(self.prompt_tokens) + text(4, self.first_token)
        greeting = struct.pack("<I", 13) + b"dynamo kv tcp" + struct.pack("<II", version, len(secret)) + secret
        with socket.create_connection((host, port)) as end:
            for kind, put, payload in ((1, 0, greeting), (3, 1, notice)):
                end.sendall(struct.pack("<IIQQQ", kind, 0, len(payload), put, 0) + payload)
            end.makefile("rb").read(64)  # welcome and acknowledgement


def generate(address, prompt, place=None):
    """The tokens with which a worker answers."""
    message = text(1, b"r1") + text(3, struct.pack(f"<{len(prompt)}I", *prompt))
    sampling = b"\x15" + struct.pack("<f", 1.0) + b"\x2d" + struct.pack("<f", 1.0)  # top_p, repetition_penalty; temperature 0
    message += text(4, sampling) + b"\x28\x04"
    if place:
        message += text(13, b"\x09" + struct.pack("<Q", 7) + text(2, b"prefill-worker-1") + text(3, place.encode()))
    host, port = address.split(":")
    tokens = ()
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as worker:
        worker.sendall(hello() + frame(REQUEST, 1, text(1, message)))
        stream = worker.makefile("rb")
        while True:
            kind, _, payload = read_frame(stream)
            assert kind != ERROR, payload
            if kind in (CHUNK, END) and payload:
                packed = fields_of(payload).get(1, b"")
                tokens += struct.unpack(f"<{len(packed) // 4}I", packed)
            if kind == END:
                return tokens


@pytest.mark.parametrize("first_token", [b"\x0a\x04\xf0\xff\xff\xff", b"\x0a\x04\x00\xc0\x00\x00", b"\x0a\x08\x01\x00\x00\x00\x02\x00\x00\x00", b"\xff"],
                         ids=["far beyond", "the first beyond", "two", "garbage"])
def test_a_first_token_that_cannot_be_is_not_taken(cluster, first_token):
    hub = cluster("hub", "hub", "--port", 0)[1](r"hub ready address=(\S+)")
    process, says = cluster("decode", "decode-worker", "--hub", hub, "--model-path", MODEL_FILE, "--host", "127.0.0.1", "--announce-host", "127.0.0.1",
                            "--disaggregation-transfer-backend", "tcp")
    address = says(r"worker ready .*address=(\S+)")
    prompt = list(range(100, 140))
    alone = generate(address, prompt)
    assert len(alone) == 4
    stranger = StrangePrefillWorker(len(prompt) + 1, first_token)
    assert generate(address, prompt + [99], stranger.address) == generate(address, prompt + [99])
    assert stranger.asked == 1
    says(r"a hand-off failed; the rest of the prompt is computed here .*how=wrong")
    assert generate(address, prompt) == alone and process.poll() is None
