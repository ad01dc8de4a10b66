"""What is wrong with a request is said in OpenAI's error object, with the right status."""
import gzip
import json

import openai
import pytest
from conftest import MODEL, web

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}


def post(server, body, path="/v1/chat/completions"):
    content = body if isinstance(body, (bytes, str)) else json.dumps(body)
    reply = web.post(f"{server.url}{path}", content=content, headers={"content-type": "application/json"})
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}, error
    return reply.status_code, error


@pytest.mark.parametrize(
    "change, param, said",
    [
        ({"messages": []}, "messages", "empty"),
        ({"messages": "hello"}, "messages", "array"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0].role", "nobody"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", ""),
        ({"temperature": 2.5}, "temperature", "2.5"),
        ({"temperature": -0.1}, "temperature", "-0.1"),
        ({"temperature": "hot"}, "temperature", "number"),
        ({"top_p": 0}, "top_p", ""),
        ({"top_p": 1.5}, "top_p", "1.5"),
        ({"max_tokens": 0}, "max_tokens", "0"),
        ({"max_tokens": -5}, "max_tokens", "-5"),
        ({"max_tokens": 8.5}, "max_tokens", "fraction"),
        ({"n": 0}, "n", ""),
        ({"stream": "yes"}, "stream", "boolean"),
        ({"stop": [""]}, "stop", ""),
        ({"response_format": {"type": "json_object"}}, "response_format", ""),
        ({"no_such_parameter": 1}, "no_such_parameter", "no_such_parameter"),
    ],
)
def test_a_wrong_parameter_is_named(server, change, param, said):
    status, error = post(server, {**CHAT, **change})
    assert status == 400
    assert error["type"] == "invalid_request_error"
    assert param in (error["param"] or ""), error
    assert said in error["message"], error


def test_an_integer_may_be_written_as_a_float_and_a_byte_order_mark_stand_before(server):
    body = json.dumps({**CHAT, "max_tokens": 2.0, "ignore_eos": True, "top_k": 1e0, "n": 1.0})
    for before in (b"", b"\xef\xbb\xbf"):
        reply = web.post(f"{server.url}/v1/chat/completions", content=before + body.encode())
        assert reply.status_code == 200, reply.text
        assert reply.json()["usage"]["completion_tokens"] == 2


def test_a_compressed_body_is_415(server):
    content = gzip.compress(json.dumps(CHAT).encode())
    reply = web.post(f"{server.url}/v1/chat/completions", content=content, headers={"content-encoding": "gzip"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_content_encoding")
    assert "'gzip'" in reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/%ff", "/v1/models/%ff", "/v1/models/%E4%BD"])
def test_an_error_about_bytes_that_are_no_text_is_json(server, path):
    reply = web.get(f"{server.url}{path}")
    assert reply.status_code == 404
    assert "\N{REPLACEMENT CHARACTER}" in json.loads(reply.content.decode("utf-8", "strict"))["error"]["message"]


def test_unknown_model_is_404(server, client):
    status, error = post(server, {**CHAT, "model": "no-such-model"})
    assert (status, error["code"]) == (404, "model_not_found")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_prompt_longer_than_the_context_names_both_numbers(server):
    status, error = post(server, {**CHAT, "messages": [{"role": "user", "content": "word " * 9000}]})
    assert (status, error["code"]) == (400, "context_length_exceeded")
    assert "8192" in error["message"]
    assert "90" in error["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"hello", b"[1]", b'{"model": "\xff"}', b"nul", b'{"a": 1} trailing'])
def test_a_body_that_is_not_a_json_object_is_400(server, body):
    status, error = post(server, body)
    assert status == 400
    assert error["type"] == "invalid_request_error"


def test_a_body_too_deep_is_400(server):
    status, error = post(server, b'{"model": "m", "metadata": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}")
    assert status == 400
    assert "deep" in error["message"]


def test_a_body_too_large_is_413(start_server):
    small = start_server("--http-body-limit", "1")
    status, error = post(small, b'{"model": "' + b"x" * (1 << 20) + b'"}')
    assert status == 413
    assert "1048576" in error["message"] or "1 MiB" in error["message"]


def test_a_refused_stream_has_a_status_not_an_event(client):
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=MODEL, messages=CHAT["messages"], stream=True, top_p=7)


def test_unknown_path_and_wrong_method(server):
    reply = web.get(f"{server.url}/v1/nothing")
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "invalid_request_error")
    reply = web.get(f"{server.url}/v1/chat/completions")
    assert reply.status_code == 405
    assert reply.headers["allow"] == "POST, OPTIONS" or "POST" in reply.headers["allow"]
