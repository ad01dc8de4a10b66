"""The HTTP side as odd clients see it, on the real server."""
import re
import socket

import httpx
from conftest import MODEL, PATIENCE, web

RUNNING = 'dynamo_engine_running_sequences{worker="worker-1"}'
USED = 'dynamo_engine_used_blocks{worker="worker-1"}'


def exchange(server, data):
    """Sends bytes on a new connection and returns all that comes until the server closes."""
    with socket.create_connection(server.address(), timeout=PATIENCE) as connection:
        connection.sendall(data)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def test_health_live_ready(server):
    assert web.get(f"{server.url}/live").status_code == 200
    assert web.get(f"{server.url}/ready").status_code == 200
    health = web.get(f"{server.url}/health").json()
    assert health["status"] == "healthy"
    assert health["instances"][0]["worker"] == "worker-1"


def test_head_has_the_length_and_no_body(server):
    reply = exchange(server, b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, body = reply.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200") and b"ontent-" in head and body == b""


def test_http_1_0_is_answered_and_closed(server):
    reply = exchange(server, b"GET /live HTTP/1.0\r\n\r\n")
    assert b" 200 " in reply.split(b"\r\n")[0]


def test_both_lengths_or_no_host_are_refused_and_closed(server):
    both = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert b" 400 " in exchange(server, both).split(b"\r\n")[0]
    assert b" 400 " in exchange(server, b"GET /live HTTP/1.1\r\n\r\n").split(b"\r\n")[0]


def test_pipelined_requests_are_answered_in_order(server):
    reply = exchange(
        server,
        b"GET /live HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\nGET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", reply)
    assert statuses == [b"200", b"404", b"200"]


def test_a_client_that_leaves_mid_stream_frees_its_blocks(server):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Write a long story."}], "stream": True, "max_tokens": 4000, "ignore_eos": True}
    with web.stream("POST", f"{server.url}/v1/chat/completions", json=body) as reply:
        lines = reply.iter_lines()
        next(lines)
        server.wait_for(RUNNING, 1)
    server.wait_for(RUNNING, 0)
    server.wait_for(USED, 0)


def test_a_client_that_leaves_before_a_unary_answer_frees_its_blocks(server):
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Write a long story."}], "max_tokens": 4000, "ignore_eos": True}
    request = httpx.Request("POST", f"{server.url}/v1/chat/completions", json=body)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection(server.address(), timeout=PATIENCE) as connection:
        connection.sendall(f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + request.content)
        server.wait_for(RUNNING, 1)
    server.wait_for(RUNNING, 0)
    server.wait_for(USED, 0)


def test_metrics_count_what_was_served(server, client):
    before = server.metrics()
    client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}], temperature=0, max_tokens=5, extra_body={"ignore_eos": True})
    after = server.metrics()

    def grown(prefix):
        return sum(value - before.get(name, 0) for name, value in after.items() if name.startswith(prefix))

    assert grown("dynamo_frontend_requests_total") == 1
    assert grown("dynamo_engine_generated_tokens_total") == 5
    assert grown("dynamo_frontend_time_to_first_token_seconds_count") == 1
