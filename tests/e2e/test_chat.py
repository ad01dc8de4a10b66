"""Chat completions through the official OpenAI client, on the real model."""
import asyncio

import openai
import pytest
from conftest import MODEL

FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
COUNT = [{"role": "user", "content": "Count from one to twenty in words."}]


def test_greedy_answer_is_the_models_own(client):
    reply = client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0)
    assert reply.choices[0].message.content == "The capital of France is Paris."
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.object == "chat.completion"
    assert reply.usage.completion_tokens == 8
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 8


def test_stream_is_the_unary_answer_in_pieces(client):
    unary = client.chat.completions.create(model=MODEL, messages=COUNT, temperature=0, max_tokens=40)
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=COUNT, temperature=0, max_tokens=40, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == unary.choices[0].message.content
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert reasons == [unary.choices[0].finish_reason]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == unary.usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(chunks) > 10


def test_no_usage_chunk_unless_asked(client):
    chunks = list(client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0, max_tokens=3, stream=True))
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)


def test_async_clients_at_once_get_the_answers_they_would_get_alone(server):
    async def ask(client, number):
        reply = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": f"Count to {number}"}], temperature=0, max_tokens=20
        )
        return reply.choices[0].message.content

    async def run():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            alone = [await ask(client, number) for number in range(1, 11)]
            together = await asyncio.gather(*(ask(client, number) for number in range(1, 11)))
            return alone, together

    alone, together = asyncio.run(run())
    assert alone == together


def test_async_stream(server):
    async def run():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            stream = await client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(run()) == "The capital of France is Paris."


def test_second_turn_reports_cached_tokens(client):
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "My name is Alice. Please remember it."}]
    first = client.chat.completions.create(model=MODEL, messages=messages, temperature=0, max_tokens=50)
    messages.append({"role": "assistant", "content": first.choices[0].message.content})
    messages.append({"role": "user", "content": "What is my name?"})
    second = client.chat.completions.create(model=MODEL, messages=messages, temperature=0, max_tokens=50)
    cached = second.usage.prompt_tokens_details.cached_tokens
    assert cached >= first.usage.prompt_tokens // 16 * 16
    assert cached < second.usage.prompt_tokens
    assert cached % 16 == 0


def test_several_choices_are_seeded_apart_and_again_the_same(client):
    def ask():
        reply = client.chat.completions.create(model=MODEL, messages=COUNT, temperature=1.0, seed=7, n=3, max_tokens=16)
        assert [choice.index for choice in reply.choices] == [0, 1, 2]
        return [choice.message.content for choice in reply.choices]

    first = ask()
    assert len(set(first)) > 1
    assert ask() == first


def test_streamed_choices_each_finish_once(client):
    finished, texts = {}, {}
    for chunk in client.chat.completions.create(model=MODEL, messages=COUNT, temperature=1.0, seed=7, n=3, max_tokens=16, stream=True):
        choice = chunk.choices[0]
        texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
        if choice.finish_reason:
            assert choice.index not in finished
            finished[choice.index] = choice.finish_reason
    assert sorted(finished) == [0, 1, 2]
    unary = client.chat.completions.create(model=MODEL, messages=COUNT, temperature=1.0, seed=7, n=3, max_tokens=16)
    assert [texts[choice.index] for choice in unary.choices] == [choice.message.content for choice in unary.choices]


@pytest.mark.parametrize("stop", [" is", "France is", ["Paris.", "nothing"], "e capital of Fr"])
@pytest.mark.parametrize("stream", [False, True])
def test_stop_strings_end_the_answer_before_them(client, stop, stream):
    whole = "The capital of France is Paris."
    first = min((whole.index(text) for text in ([stop] if isinstance(stop, str) else stop) if text in whole))
    reply = client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0, stop=stop, stream=stream)
    if stream:
        chunks = list(reply)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        text, reason = reply.choices[0].message.content, reply.choices[0].finish_reason
    assert text == whole[:first]
    assert reason == "stop"


def test_max_tokens_ends_with_length(client):
    reply = client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0, max_completion_tokens=3)
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 3


def test_logprobs_are_of_the_tokens_shown(client):
    reply = client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0, logprobs=True, top_logprobs=3)
    content = reply.choices[0].logprobs.content
    assert "".join(entry.token for entry in content).startswith("The capital of France is Paris.")
    for entry in content:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == pytest.approx(entry.top_logprobs[0].logprob)  # greedy takes the most likely
        assert entry.top_logprobs[0].logprob >= entry.top_logprobs[1].logprob >= entry.top_logprobs[2].logprob
        assert bytes(entry.bytes).decode(errors="replace") == entry.token


def test_ignore_eos_and_min_tokens_go_on_past_the_end(client):
    for body in ({"ignore_eos": True}, {"nvext": {"ignore_eos": True}}, {"min_tokens": 20}):
        reply = client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0, max_tokens=20, extra_body=body)
        assert reply.usage.completion_tokens == 20, body
        assert reply.choices[0].finish_reason == "length"


def test_sampling_extensions_change_what_is_drawn(client):
    def ask(**extra):
        reply = client.chat.completions.create(model=MODEL, messages=COUNT, temperature=1.5, seed=3, max_tokens=12, extra_body=extra)
        return reply.choices[0].message.content

    greedy = client.chat.completions.create(model=MODEL, messages=COUNT, temperature=0, max_tokens=12).choices[0].message.content
    assert ask() != greedy
    assert ask(top_k=1) == greedy
    assert ask(min_p=1.0) == greedy


def test_a_prompt_of_many_blocks_is_answered_and_cached(client):
    messages = [{"role": "user", "content": "The quick brown fox jumps over the lazy dog. " * 150 + "What animal jumps?"}]
    first = client.chat.completions.create(model=MODEL, messages=messages, temperature=0, max_tokens=12)
    again = client.chat.completions.create(model=MODEL, messages=messages, temperature=0, max_tokens=12)
    assert first.usage.prompt_tokens > 1500
    assert again.choices[0].message.content == first.choices[0].message.content
    assert again.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens - 32


def test_models_are_listed_and_shown(client):
    assert [model.id for model in client.models.list()] == [MODEL]
    shown = client.models.retrieve(MODEL)
    assert shown.object == "model"
    assert shown.created > 1_700_000_000
