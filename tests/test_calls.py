import pytest

from ragtune_lib.llm.calls import Call, call_key, parse_spec, prompt

CALL = Call("c1", prompt("Who sang?", "Be brief."), 50, 0.0, {"type": "object", "properties": {}}, 0)


@pytest.mark.parametrize(
    ("spec", "base_url", "model", "variable"),
    [
        ("embedded", "", "embedded", ""),
        (" Qwen/Qwen2.5-7B-Instruct ", "", "Qwen/Qwen2.5-7B-Instruct", ""),
        ("openai:gpt-4o-mini", "https://api.openai.com/v1", "gpt-4o-mini", "OPENAI_API_KEY"),
        ("openai:ft:gpt-4o-mini:me::1", "https://api.openai.com/v1", "ft:gpt-4o-mini:me::1", "OPENAI_API_KEY"),
        ("http://127.0.0.1:8000/v1:my-model", "http://127.0.0.1:8000/v1", "my-model", "RAGTUNE_API_KEY"),
        ("http://h:11434/v1:llama3.2:1b", "http://h:11434/v1", "llama3.2:1b", "RAGTUNE_API_KEY"),
        ("http://[::1]:8000/v1/:Qwen/Qwen3", "http://[::1]:8000/v1", "Qwen/Qwen3", "RAGTUNE_API_KEY"),
        ("https://h/a/b/v1:/srv/model", "https://h/a/b/v1", "/srv/model", "RAGTUNE_API_KEY"),
    ],
)
def test_a_spec_says_where_and_what(spec, base_url, model, variable):
    found = parse_spec(spec)
    assert (found.base_url, found.model, found.key_variable) == (base_url, model, variable)
    assert found.local == (not base_url)


@pytest.mark.parametrize(
    "spec",
    ["", "openai:", "http://h:8000:model", "http://h/v1", "http://h/v1:", "anthropic:claude", "http://h/v1:two words"],
)
def test_what_is_no_spec_is_refused(spec):
    with pytest.raises(ValueError, match=r"spec|model"):
        parse_spec(spec)


@pytest.mark.parametrize("spec", ["https://me:hunter2@h/v1:m", "https://h/v1?key=hunter2:m"])
def test_a_spec_with_a_secret_is_refused_without_repeating_it(spec):
    with pytest.raises(ValueError, match="RAGTUNE_API_KEY") as caught:
        parse_spec(spec)
    assert "hunter2" not in str(caught.value)


def test_a_folder_may_have_a_colon_in_its_name(tmp_path):
    folder = tmp_path / "model:v2"
    folder.mkdir()
    assert parse_spec(str(folder)).local


def test_the_key_depends_on_everything_but_the_item():
    different = [
        ("other", CALL),
        ("m", Call("c1", prompt("Who sang"), 50, 0.0, CALL.schema)),
        ("m", Call("c1", (("user", "Be brief."), ("user", "Who sang?")), 50, 0.0, CALL.schema)),
        ("m", Call("c1", CALL.messages, 51, 0.0, CALL.schema)),
        ("m", Call("c1", CALL.messages, 50, 0.5, CALL.schema)),
        ("m", Call("c1", CALL.messages, 50, 0.0, None)),
        ("m", Call("c1", CALL.messages, 50, 0.0, CALL.schema, 1)),
        ("m", Call("c1", CALL.messages, 50, 0.0, CALL.schema, keep_cut=True)),
    ]
    keys = {call_key(*parts) for parts in [("m", CALL), *different]}
    assert len(keys) == len(different) + 1
    assert (
        call_key("m", Call("c2", *[getattr(CALL, name) for name in ("messages", "max_tokens")], schema=CALL.schema))
        in keys
    )


def test_the_key_of_a_call_is_what_it_always_was():
    assert call_key("m", Call("c1", prompt("Who sang?"), 50)) == "920a05cc48ee2fea6a2be84b98a98560"
