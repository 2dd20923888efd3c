"""The official `openai` client against a running server that serves models/tiny-math:

    python tests/openai_client_test.py http://127.0.0.1:8000/v1

Needs the packages `openai` and `jsonschema`; tests/openai_client.sh installs them and starts the server. Prints what it did and ends with 1 where something is wrong.
"""

import concurrent.futures
import json
import sys
import typing

import jsonschema
import openai
import pydantic

QUESTION = (
    "Question: Quinn has 27 ribbons. Quinn finds another 18. How many ribbons does Quinn have now?\nAnswer:"
)
MESSAGES = [{"role": "user", "content": QUESTION}]


def test_models(client):
    models = client.models.list().data
    assert [model.id for model in models] == ["tiny-math"]
    assert client.models.retrieve("tiny-math").id == "tiny-math"


def test_completion(client):
    answer = client.completions.create(
        model="tiny-math", prompt=QUESTION, max_tokens=60, temperature=0, stop=["Question:"]
    )
    assert answer.choices[0].text.rstrip().endswith("#### 45"), answer
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_completion_prompts(client):
    for prompt, count in [(["a", "b", "c"], 3), ([5, 6, 7], 1), ([[5], [6, 7]], 2)]:
        answer = client.completions.create(model="tiny-math", prompt=prompt, max_tokens=2, n=2, seed=1)
        assert [choice.index for choice in answer.choices] == list(range(2 * count))


def test_completion_logprobs(client):
    answer = client.completions.create(
        model="tiny-math", prompt="one two", max_tokens=3, logprobs=2, echo=True, temperature=0
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs.token_logprobs[0] is None
    assert len(logprobs.tokens) == answer.usage.total_tokens == len(logprobs.text_offset)
    for name, own, top in list(zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs))[1:]:
        assert top[name] == own <= 0


def test_chat(client):
    answer = client.chat.completions.create(
        model="tiny-math", messages=MESSAGES, max_completion_tokens=60, temperature=0, logprobs=True, top_logprobs=3
    )
    message = answer.choices[0].message
    assert message.role == "assistant" and message.content
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    assert all(len(entry.top_logprobs) == 3 for entry in content)
    assert content[0].top_logprobs[0].token == content[0].token  # greedy


def test_streams(client):
    whole = client.chat.completions.create(model="tiny-math", messages=MESSAGES, max_tokens=40, temperature=0)
    stream = client.chat.completions.create(
        model="tiny-math",
        messages=MESSAGES,
        max_tokens=40,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    text = "".join(
        chunk.choices[0].text
        for chunk in client.completions.create(
            model="tiny-math", prompt=QUESTION, max_tokens=60, temperature=0, stream=True
        )
    )
    assert "#### 45" in text


# Bounded everywhere: a model that repeats itself comes to an end all the same.
class Boss(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=10)
    age: int = pydantic.Field(ge=0, le=130)


class Person(Boss):
    pets: list[typing.Literal["cat", "dog"]] = pydantic.Field(max_length=2)
    boss: Boss | None


SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["sum", "difference"]},
        "terms": {"type": "array", "items": {"type": "number", "minimum": -5, "maximum": 99.5}, "maxItems": 4},
        "note": {"type": "string", "pattern": "^[A-Z][a-z ]*$", "maxLength": 12},
        "inner": {"anyOf": [{"type": "null"}, {"$ref": "#"}]},
    },
    "required": ["kind", "terms", "inner"],
    "additionalProperties": False,
}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather at a place",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "maximum": 7}},
                "required": ["place"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "maxProperties": 0, "additionalProperties": False}}},
]


def ask(client, **arguments):
    return client.chat.completions.create(model="tiny-math", messages=MESSAGES, **({"max_tokens": 900} | arguments))


# The model knows sums only: what it writes is nonsense, but it has the form that was asked for.
def test_json_schema(client):
    form = {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA, "strict": True}}
    for temperature, seed in [(0, 0), (1, 1), (1, 2), (2, 3)]:
        choice = ask(client, response_format=form, temperature=temperature, seed=seed).choices[0]
        assert choice.finish_reason == "stop", choice
        jsonschema.validate(json.loads(choice.message.content), SCHEMA)


def test_parse(client):
    answer = client.chat.completions.parse(
        model="tiny-math", messages=MESSAGES, max_tokens=900, response_format=Person, temperature=0
    )
    assert isinstance(answer.choices[0].message.parsed, Person), answer


def test_other_forms(client):
    answer = ask(client, response_format={"type": "json_object"}, temperature=0.3, seed=4).choices[0]
    if answer.finish_reason == "stop":
        assert isinstance(json.loads(answer.message.content), dict)
    choices = ["yes", "no"]
    for seed in range(3):
        for field in [{"guided_choice": choices}, {"structured_outputs": {"choice": choices}}]:
            assert ask(client, extra_body=field, seed=seed).choices[0].message.content in choices
    text = ask(client, extra_body={"guided_regex": "[0-9]{3}-[a-f]{2}"}, seed=1).choices[0].message.content
    assert len(text) == 6 and text[:3].isdigit() and text[3] == "-", text


def check_calls(calls):
    parameters = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
    assert calls
    for call in calls:
        assert call.id and call.type == "function"
        jsonschema.validate(json.loads(call.function.arguments), parameters[call.function.name])


def test_tool_calls(client):
    named = {"type": "function", "function": {"name": "weather"}}
    for choice in [named, "required"]:
        for seed in range(3):
            answer = ask(client, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, seed=seed).choices[0]
            assert answer.finish_reason == "tool_calls", answer
            check_calls(answer.message.tool_calls)
    for choice in ["auto", "none"]:
        answer = ask(client, tools=TOOLS, tool_choice=choice, temperature=0).choices[0]
        assert answer.message.content and not answer.message.tool_calls
    # The answer and the tool's own go back into the conversation.
    call = ask(client, tools=TOOLS, tool_choice=named, seed=1).choices[0].message
    result = {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "rain"}
    answer = client.chat.completions.create(
        model="tiny-math", messages=[*MESSAGES, call.model_dump(), result], tools=TOOLS, max_tokens=5
    )
    assert answer.usage.completion_tokens > 0


def streamed_calls(stream):
    """The calls that the events make, in OpenAI's own order: name first, then arguments alone; and the reason of the end."""
    calls, pieces, reason = [], [], None
    for chunk in stream:
        choice = chunk.choices[0]
        for part in choice.delta.tool_calls or []:
            if part.id is not None:
                assert part.index == len(calls) and part.type == "function" and part.function.arguments == ""
                calls.append({"id": part.id, "name": part.function.name, "arguments": ""})
                pieces.append(0)
            else:
                assert part.function.name is None and part.function.arguments
                calls[part.index]["arguments"] += part.function.arguments
                pieces[part.index] += 1
        reason = choice.finish_reason or reason
    return calls, pieces, reason


def test_tool_call_stream(client):
    named = {"type": "function", "function": {"name": "weather"}}
    parameters = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
    for choice in [named, "required"]:
        for seed in range(3):
            asked = {"tools": TOOLS, "tool_choice": choice, "parallel_tool_calls": False, "seed": seed}
            calls, pieces, reason = streamed_calls(ask(client, stream=True, **asked))
            assert reason == "tool_calls" and len(calls) == 1
            jsonschema.validate(json.loads(calls[0]["arguments"]), parameters[calls[0]["name"]])
            whole = ask(client, **asked).choices[0].message.tool_calls[0].function
            assert (calls[0]["name"], calls[0]["arguments"]) == (whole.name, whole.arguments)
            assert pieces[0] > 1 or json.loads(whole.arguments) == {}, (pieces, whole)


def test_tool_call_cut_off(client):
    named = {"type": "function", "function": {"name": "weather"}}
    for choice in [named, "required"]:
        asked = {"tools": TOOLS, "tool_choice": choice, "parallel_tool_calls": False, "seed": 0}
        length = ask(client, **asked).usage.completion_tokens
        incomplete = 0
        for limit in range(1, length, max(1, length // 16)):
            whole = ask(client, **asked, max_tokens=limit).choices[0]
            calls, _, reason = streamed_calls(ask(client, stream=True, **asked, max_tokens=limit))
            assert reason == whole.finish_reason == "length"
            told = [(call.function.name, call.function.arguments) for call in whole.message.tool_calls or []]
            assert told == [(call["name"], call["arguments"]) for call in calls]
            incomplete += len(told)
        assert incomplete > 0


def test_errors(client):
    for arguments, kind, param in [
        ({"model": "other"}, openai.NotFoundError, "model"),
        ({"temperature": -1}, openai.BadRequestError, "temperature"),
        ({"extra_body": {"max_tokens": "x"}}, openai.BadRequestError, "max_tokens"),
        ({"prompt": [99999]}, openai.BadRequestError, "prompt"),
        ({"extra_body": {"guided_json": {"not": {}}}}, openai.BadRequestError, "guided_json"),
    ]:
        try:
            client.completions.create(**({"model": "tiny-math", "prompt": "x"} | arguments))
        except kind as error:
            assert error.param == param, error
        else:
            raise AssertionError(f"{arguments} was not refused")


def test_concurrency(client):
    def ask(number):
        prompt = f"Question: Ada has {number} pears and buys 7 more. How many pears does Ada have?\nAnswer:"
        answer = client.completions.create(model="tiny-math", prompt=prompt, max_tokens=60, temperature=0)
        return f"#### {number + 7}" in answer.choices[0].text

    with concurrent.futures.ThreadPoolExecutor(32) as threads:
        right = sum(threads.map(ask, range(10, 74)))
    assert right >= 56, f"{right} of 64 answers are right"


def test_early_end(client):
    with client.completions.create(
        model="tiny-math", prompt="x", max_tokens=1500, stream=True, extra_body={"ignore_eos": True}
    ) as stream:
        next(iter(stream))


def main():
    client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
    failures = 0
    for name, test in sorted(globals().items()):
        if not name.startswith("test_"):
            continue
        try:
            test(client)
            print(f"ok      {name}")
        except Exception as error:  # the other tests run all the same
            failures += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
