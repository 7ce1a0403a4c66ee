"""`nexus chat`: one question, as any client asks."""

from __future__ import annotations

from pathlib import Path

from tests.contract.cli.terminal import Shell, finished, scene
from tests.support.scripted import Answer, Cut


async def test_the_answer_goes_to_standard_output_and_who_gave_it_beside_it(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        (backend,) = here.backends
        backend.behave(Answer(text=("One.\n", "Two\x1b[31m."), reasoning=("Hm.",)))
        done = await here.nexus("chat", "m", "Count.", "--system", "Be brief.")
        sent = backend.generations[-1].json["messages"]
    assert (done.code, done.out) == (0, "One.\nTwo [31m.\n")
    assert done.err.startswith("Hm.m on one (capability-match), 7 tokens in, ")
    assert "`nexus why req-" in done.err
    assert [(one["role"], one["content"]) for one in sent] == [
        ("system", "Be brief."),
        ("user", "Count."),
    ]


async def test_as_json_with_the_prompt_from_standard_input(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        process = await here.shell.start("chat", "m", "--json", stdin=-1)
        done = await finished(process, b"Who are you?")
        (backend,) = here.backends
        assert backend.generations[-1].json["messages"][0]["content"] == "Who are you?"
    told = done.json()
    assert told["answer"] == "Hello from scripted."
    assert (told["backend"], told["model"], told["finish_reason"]) == ("one", "m", "stop")
    assert told["prompt_tokens"] == 7


async def test_what_fails_is_a_sentence_and_an_exit_code(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        unknown = await here.nexus("chat", "nobody", "hi")
        here.backends[0].behave(Answer(cut=Cut.CLEAN_EOF, after=2))
        cut = await here.nexus("chat", "m", "hi")
    gone = await Shell(here.shell.home, {"NEXUS_PORT": "9"}).nexus("chat", "m", "hi")
    assert [done.code for done in (unknown, cut, gone)] == [1, 1, 3]
    assert "The model 'nobody' does not exist here" in unknown.err
    assert "Error: " in cut.err
    assert "nexus serve" in gone.err
    assert not any("Traceback" in done.err for done in (unknown, cut, gone))
