"""Text completions through the official OpenAI client, on the real model."""
from conftest import MODEL

PROMPT = "The capital of France is"


def test_text_list_and_token_ids_give_the_same_answer(client):
    def ask(prompt):
        return client.completions.create(model=MODEL, prompt=prompt, temperature=0, max_tokens=8)

    one = ask(PROMPT)
    assert one.object == "text_completion"
    assert " Paris" in one.choices[0].text
    both = ask([PROMPT, "One, two, three,"])
    assert [choice.index for choice in both.choices] == [0, 1]
    assert both.choices[0].text == one.choices[0].text
    logged = client.completions.create(model=MODEL, prompt=PROMPT, temperature=0, max_tokens=1, echo=True)
    assert logged.choices[0].text.startswith(PROMPT)


def test_token_ids_are_taken_as_they_are(client):
    ids = [504, 3575, 282, 4649, 314]  # "The capital of France is"
    by_ids = client.completions.create(model=MODEL, prompt=ids, temperature=0, max_tokens=8)
    by_text = client.completions.create(model=MODEL, prompt=PROMPT, temperature=0, max_tokens=8)
    assert by_ids.usage.prompt_tokens == len(ids)
    assert by_ids.choices[0].text == by_text.choices[0].text
    twice = client.completions.create(model=MODEL, prompt=[ids, ids], temperature=0, max_tokens=8)
    assert [choice.text for choice in twice.choices] == [by_ids.choices[0].text] * 2


def test_default_is_sixteen_tokens(client):
    reply = client.completions.create(model=MODEL, prompt="Once upon a time", temperature=0, extra_body={"ignore_eos": True})
    assert reply.usage.completion_tokens == 16
    assert reply.choices[0].finish_reason == "length"


def test_streamed_completion_is_the_unary_one(client):
    unary = client.completions.create(model=MODEL, prompt=PROMPT, temperature=0, max_tokens=24)
    chunks = list(client.completions.create(model=MODEL, prompt=PROMPT, temperature=0, max_tokens=24, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == unary.choices[0].text
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == [unary.choices[0].finish_reason]


def test_logprobs_in_the_old_format(client):
    reply = client.completions.create(model=MODEL, prompt=PROMPT, temperature=0, max_tokens=4, logprobs=2)
    logprobs = reply.choices[0].logprobs
    assert "".join(logprobs.tokens) == reply.choices[0].text
    assert len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == len(logprobs.text_offset) == 4
    assert logprobs.text_offset[0] == 0
    assert max(logprobs.top_logprobs[0].values()) == logprobs.token_logprobs[0]
