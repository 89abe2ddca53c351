"""The official Python SDK through the gate to the embedded model."""

import asyncio

import openai
import pytest

from conftest import BASE_URL, KEY

MODEL = "smollm2-135m-instruct"
ASK = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0, "max_tokens": 16}


def test_chat_under_an_alias_tells_the_truth(client):
    answer = client.chat.completions.create(model="gpt-4o-mini", **ASK)
    assert answer.model == MODEL and answer.choices[0].message.content
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_stream_and_whole_agree(client):
    whole = client.chat.completions.create(model=MODEL, **ASK)
    chunks = list(client.chat.completions.create(model=MODEL, stream=True, stream_options={"include_usage": True}, **ASK))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_limits_stop_and_seed(client):
    short = client.chat.completions.create(model=MODEL, **{**ASK, "max_tokens": 2})
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 2)
    text = client.chat.completions.create(model=MODEL, **ASK).choices[0].message.content
    word = text.split()[2]
    stopped = client.chat.completions.create(model=MODEL, stop=word, **ASK)
    assert stopped.choices[0].finish_reason == "stop" and word not in stopped.choices[0].message.content
    warm = {**ASK, "temperature": 1, "seed": 7}
    one, two = (client.chat.completions.create(model=MODEL, **warm).choices[0].message.content for _ in range(2))
    assert one == two


def test_responses(client):
    made = client.responses.create(model="gpt-5", input="Say hello.", max_output_tokens=12)
    assert made.model == MODEL and made.output_text and made.usage.output_tokens <= 12
    kinds = [event.type for event in client.responses.create(model=MODEL, input="Say hello.", max_output_tokens=8, stream=True)]
    assert kinds[0] == "response.created" and kinds[-1] in ("response.completed", "response.incomplete")


def test_unknown_models_and_endpoints(impatient):
    with pytest.raises(openai.NotFoundError) as caught:
        impatient.chat.completions.create(model="no-such-model", **ASK)
    assert caught.value.code == "model_not_found" and caught.value.param == "model"
    with pytest.raises(openai.InternalServerError):
        impatient.embeddings.create(model="gpt-4o", input="x")
    assert MODEL in [model.id for model in impatient.models.list()]


def test_leaving_early_and_async(client):
    stream = client.chat.completions.create(model=MODEL, messages=ASK["messages"], stream=True, max_tokens=500)
    next(iter(stream))
    stream.close()

    async def run():
        async with openai.AsyncOpenAI(base_url=BASE_URL, api_key=KEY) as client:
            return await asyncio.gather(*(client.chat.completions.create(model=MODEL, **ASK) for _ in range(3)))
    texts = {answer.choices[0].message.content for answer in asyncio.run(run())}
    assert len(texts) == 1
