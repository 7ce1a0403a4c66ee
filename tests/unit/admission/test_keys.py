"""Who holds a key: whatever the headers hold, only a whole secret opens."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.admission.keys import Key, Keyring, hash_of, new_secret
from nexus_proxy.config.model import KeyConfig, Priority, Zone
from nexus_proxy.errors import ModelNotAllowedError, UnauthorizedError
from nexus_proxy.telemetry.logs import Redactor

SECRET, OTHER = new_secret(), new_secret()
RING = Keyring(
    [KeyConfig(name="one", hash=hash_of(SECRET)), KeyConfig(name="other", hash=hash_of(OTHER))]
)
NAMES = (b"authorization", b"x-api-key", b"api-key")
VALUES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"",
            b"Bearer",
            b"Bearer ",
            b"Bearer sk-1234567890",
            b"Basic eDp5",
            b"nxs-",
            b"Bearer nxs-",
        ]
    ),
    st.integers(0, 46).map(lambda length: b"Bearer " + SECRET.encode()[:length]),
    st.integers(1, 5).map(lambda more: SECRET.encode() + b"x" * more),
    st.just(b"nxs-" + b"a" * 60_000),
)


def test_a_secret_has_256_random_bits_and_needs_no_quoting() -> None:
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    for secret in made:
        assert re.fullmatch(r"nxs-[A-Za-z0-9_-]{43}", secret)
        assert len(base64.urlsafe_b64decode(secret.removeprefix("nxs-") + "=")) == 32


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": f"Bearer {SECRET}".encode()},
        {b"authorization": f"bEARER   {SECRET} ".encode()},
        {b"x-api-key": SECRET.encode()},
        {b"api-key": SECRET.encode() + b" "},
        {b"authorization": b"Bearer sk-cloud", b"x-api-key": SECRET.encode()},
        {b"authorization": f"Bearer {SECRET}".encode(), b"x-api-key": OTHER.encode()},
        {b"x-api-key": b"\xff\xfe", b"api-key": SECRET.encode()},
    ],
)
def test_the_first_header_that_holds_a_key_counts(headers: dict[bytes, bytes]) -> None:
    assert RING.check(headers).name == "one"


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_anything_else_is_refused_and_not_repeated(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        RING.check(headers)
    with pytest.raises(UnauthorizedError) as empty:
        RING.check(dict.fromkeys(headers, b""))
    assert caught.value.message == empty.value.message
    assert caught.value.status == 401
    assert "nexus keys create" in caught.value.message


@pytest.mark.parametrize(
    "value",
    [SECRET, f"Basic {SECRET}", f"Bearer {SECRET}, Bearer {OTHER}", f"Bearer{SECRET}"],
    ids=["alone", "basic", "two", "without a blank"],  # the secrets are others in each process
)
def test_authorization_is_one_bearer_token(value: str) -> None:
    with pytest.raises(UnauthorizedError):
        RING.check({b"authorization": value.encode()})


def test_a_key_that_is_gone_opens_nothing() -> None:
    ring = Keyring([KeyConfig(name="one", hash=hash_of(SECRET))])
    headers = {b"x-api-key": SECRET.encode()}
    assert ring.check(headers).name == "one"
    ring.apply([KeyConfig(name="other", hash=hash_of(OTHER))])
    with pytest.raises(UnauthorizedError):
        ring.check(headers)


def test_without_keys_nobody_needs_one_unless_strangers_could_come() -> None:
    assert not Keyring([]).required
    exposed = Keyring([], exposed=True)
    assert exposed.required
    with pytest.raises(UnauthorizedError):
        exposed.check({b"x-api-key": SECRET.encode()})


def key(**given: Any) -> Key:
    return Key(KeyConfig(name="ci", hash=hash_of(SECRET), **given))


def test_models_by_any_name_on_the_way() -> None:
    one = key(models=["qwen3:*", "gpt-4o"])
    assert one.allows(["qwen3:8b"])
    assert one.allows(["gpt-4o", "llama3.2"])
    assert not one.allows(["llama3.2"])
    assert not one.allows([])
    assert not one.allows(["xqwen3:8b", "gpt-4o-mini"])
    with pytest.raises(ModelNotAllowedError, match=r"'ci'.*'llama3\.2'.*qwen3:\*, gpt-4o") as error:
        one.require("llama3.2", ["llama3.2"])
    assert (error.value.status, error.value.param) == (403, "model")
    assert key().allows(["anything"])


def test_zone_and_priority_have_defaults_that_change_nothing() -> None:
    assert (key().zone, key().priority) == (Zone.OPEN, Priority.NORMAL)
    assert key(zone="internal").zone is Zone.INTERNAL


def test_logs_know_what_a_secret_looks_like() -> None:
    said = Redactor()(f"got {SECRET!r} and authorization: bearer {OTHER}")
    assert SECRET not in said
    assert OTHER not in said
