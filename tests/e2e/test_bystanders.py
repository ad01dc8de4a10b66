"""What one client asks for does not reach the clients beside it."""
import threading

import httpx
import pytest
from conftest import MODEL, PATIENCE, wait_until, web

EDGES = [
    {"repetition_penalty": 1e-38},
    {"repetition_penalty": 1e-45},
    {"repetition_penalty": 1e-300},
    {"temperature": 1e-300, "top_p": 1e-300, "min_p": 1e-300},
    {"repetition_penalty": 1e-38, "presence_penalty": -2, "frequency_penalty": -2, "logit_bias": {"5": 100, "6": -100}, "top_k": 2147483647},
]


def ask(url, body, on_event=lambda: None):
    """The streamed text of a completion that must end well."""
    text, done = "", False
    with web.stream("POST", f"{url}/v1/completions", json={"model": MODEL, "stream": True, **body}) as reply:
        assert reply.status_code == 200, reply.read()
        for line in reply.iter_lines():
            done = done or line == "data: [DONE]"
            if line.startswith("data: {"):
                event = httpx.Response(200, content=line[6:]).json()
                assert "error" not in event, event
                text += event["choices"][0]["text"]
                on_event()
    assert done
    return text


@pytest.mark.parametrize("odd", EDGES, ids=[" ".join(f"{k}={v}" for k, v in one.items()) for one in EDGES])
def test_parameters_at_the_edge_are_answered_and_change_no_other_stream(server, odd):
    bodies = [{"prompt": f"Count upwards from {i}:", "temperature": 0, "ignore_eos": True, "max_tokens": 60} for i in range(4)]
    expected = [ask(server.url, body) for body in bodies]
    begun, texts = [threading.Event() for _ in bodies], [None] * len(bodies)

    def stream(i):
        texts[i] = ask(server.url, bodies[i], begun[i].set)

    threads = [threading.Thread(target=stream, args=(i,)) for i in range(len(bodies))]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(event.is_set() for event in begun))
    reply = web.post(f"{server.url}/v1/chat/completions", json={
        "model": MODEL, "messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 4, "logprobs": True, "top_logprobs": 20, **odd})
    for thread in threads:
        thread.join(PATIENCE)
    assert reply.status_code == 200, reply.text
    assert texts == expected
