"""Answers that are kept: in a folder, and in a real S3 service."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from ddstream.connectors.remote.claims import (
    Claim,
    ClaimStore,
    FolderClaims,
    ObjectClaims,
    claim_name,
    claim_store,
)
from ddstream.errors import InternalError, Unavailable
from ddstream.roots import Roots
from ddstream.settings import Settings, SettingsError
from tests.connectors.remote.s3 import BUCKET, s3_environment, s3_server

NAME = claim_name("", "digits", "dd.predict.digits/0/7@1", b"image", "application/json")
ANSWER = b'{"status": {"code": 200}}' * 1000


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ClaimStore]:
    """A store of each kind."""
    url = f"file://{tmp_path}/kept answers"
    if request.param == "s3":
        url = f"s3://{BUCKET}/answers"
        for name, value in s3_environment(request.getfixturevalue("s3_url")).items():
            monkeypatch.setenv(name, value)
    made = claim_store(Settings(claim_store=url, roots=(tmp_path,)))
    assert made is not None
    yield made
    await made.close()


async def test_an_answer_comes_back_as_it_was_kept(store: ClaimStore) -> None:
    claim = await store.put(NAME, ANSWER, "application/json")
    assert (claim.nbytes, claim.content_type) == (len(ANSWER), "application/json")
    assert claim.sha256 == hashlib.sha256(ANSWER).hexdigest()
    assert claim.url.endswith(f"/{NAME}")
    assert Claim.parse(claim.head()) == claim
    assert await store.get(claim) == ANSWER


async def test_the_same_name_again_replaces_what_was_kept(store: ClaimStore) -> None:
    first = await store.put(NAME, ANSWER, "application/json")
    second = await store.put(NAME, b"later", "application/json")
    assert first.url == second.url
    assert await store.get(second) == b"later"
    with pytest.raises(Unavailable):
        await store.get(first)


async def test_only_what_this_store_kept_can_be_got(store: ClaimStore, tmp_path: Path) -> None:
    claim = await store.put(NAME, ANSWER, "text/plain")
    folder = claim.url.removesuffix(f"/{NAME}")
    strangers = [
        "file:///etc/passwd",
        "s3://elsewhere/x",
        f"{folder}/../../etc/passwd",
        f"{folder}/digits/../../x",
        f"{folder}",
        f"{folder}/digits/passwd",
        f"{folder}-else/{NAME}",
        f"{claim.url}::file:///etc/passwd",
        "http://169.254.169.254/latest",
    ]
    for url in strangers:
        with pytest.raises(InternalError, match="not in"):
            await store.get(replace(claim, url=url))


async def test_a_changed_answer_is_not_given_out(store: ClaimStore) -> None:
    claim = await store.put(NAME, ANSWER, "text/plain")
    for wrong in (replace(claim, sha256="0" * 64), replace(claim, nbytes=len(ANSWER) + 1)):
        with pytest.raises(Unavailable, match="not what was kept"):
            await store.get(wrong)


async def test_what_is_gone_from_the_store_is_said(store: ClaimStore) -> None:
    claim = await store.put(NAME, ANSWER, "text/plain")
    other = claim_name("", "digits", "dd.predict.digits/0/8@1", b"", "text/plain")
    gone = replace(claim, url=claim.url.replace(NAME, other))
    with pytest.raises(Unavailable, match="claim store"):
        await store.get(gone)


async def test_a_reader_never_sees_half_an_answer(tmp_path: Path) -> None:
    store = FolderClaims(f"file://{tmp_path}", Roots((tmp_path,)))
    contents = [bytes([n]) * (1 << 20) for n in range(8)]
    claims = await asyncio.gather(*(store.put(NAME, c, "text/plain") for c in contents))
    assert (tmp_path / NAME).read_bytes() in contents
    assert [p.name for p in (tmp_path / "digits").iterdir()] == [NAME.partition("/")[2]]
    assert len({claim.url for claim in claims}) == 1


async def test_a_store_that_cannot_be_written_is_transient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").write_text("a file where a folder is wanted")
    folder = claim_store(Settings(claim_store=f"file://{tmp_path}", roots=(tmp_path,)))
    for name, value in s3_environment("http://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    objects = ObjectClaims(f"s3://{BUCKET}/x", 5)
    for store in (folder, objects):
        assert store is not None
        with pytest.raises(Unavailable, match="cannot be used") as away:
            await store.put(NAME, ANSWER, "text/plain")
        assert away.value.severity == "transient"
        await store.close()


def test_a_name_is_the_same_for_the_same_request_and_for_no_other() -> None:
    source = "dd.predict.x/0/7@1700000000000"
    name = claim_name("secret", "x", source, b"image", "application/json; charset=utf-8")
    assert name == claim_name("secret", "x", source, b"image", "application/json")
    others = [
        claim_name("other", "x", source, b"image", "application/json"),
        claim_name("secret", "x", source.replace("7", "8"), b"image", "application/json"),
        claim_name("secret", "x", source, b"another", "application/json"),
    ]
    assert len({name, *others}) == 4
    assert name.startswith("x/")
    assert name.endswith(".json")
    assert claim_name("", "x", source, b"", "image/png").endswith(".bin")


def test_a_folder_outside_the_roots_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DDSTREAM_ROOTS"):
        claim_store(Settings(claim_store="file:///etc", roots=(tmp_path,)))
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(SettingsError, match="DDSTREAM_ROOTS"):
        claim_store(Settings(claim_store=f"file://{tmp_path}/link", roots=(tmp_path,)))


def test_without_the_setting_there_is_no_store() -> None:
    assert claim_store(Settings()) is None


@pytest.mark.parametrize(
    "url", ["/tmp", "s3://", "http://host/x", "dir://x", "s3://a::file:///b", "S3://b/x", "://x"]
)
def test_a_store_that_is_none_cannot_be_set(url: str) -> None:
    with pytest.raises(ValidationError, match="claim_store"):
        Settings(claim_store=url)


def test_the_secret_is_not_shown() -> None:
    settings = Settings(claim_secret=os.urandom(8).hex())
    assert settings.claim_secret not in repr(settings)


@pytest.mark.parametrize("raw", [None, [], {"url": "x"}, {"url": 1, "nbytes": "many"}])
def test_a_head_that_has_no_claim_is_an_error_of_ours(raw: object) -> None:
    with pytest.raises(InternalError, match="claim"):
        Claim.parse(raw)
