"""What holds for every provider: there and back, single and batch, and nothing a stranger sends breaks it."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.message import KEY_PLACEHOLDER, RECIPIENT_PLACEHOLDER
from bench.model import Attachment, Auth, Outcome, Parts, Secret
from bench.providers import PROVIDERS
from bench.providers.base import AuthScheme, Provider, Request, Response, Served

NINE = [provider for name, provider in PROVIDERS.items() if name != "generic"]
EVERY = pytest.mark.parametrize("provider", NINE, ids=lambda provider: provider.name)
KEY = "20261124T122100Z-some-name_2-b69e81-0-17"
PARTS = Parts("a@x.example", ("b+c@y.example",), "Grüße", "hello ✓\r\n", None, (), (), KEY, b"")
RICH = replace(
    PARTS,
    recipients=("b@y.example", "c@y.example"),
    html="<p>hello</p>",
    headers=(("X-Tag", "one"), ("Reply-To", "desk@x.example")),
    attachments=(Attachment("a.bin", "application/octet-stream", bytes(range(256))),),
)
MANY = [(f"{KEY}{n}", f"user{n}@y.example") for n in range(5)]


def credentials(provider: Provider) -> Auth:
    return provider.mock_credentials(Random(5))


def call(provider: Provider, request: Request, auth: Auth | None = None) -> Request:
    """As the mock sees it: names in lower case, who calls proved over the whole of it."""
    whole = replace(request, headers=(*request.headers, ("Host", "127.0.0.1:1")))
    proof = provider.auth_headers(auth or credentials(provider), whole)
    return replace(request, headers=tuple((name.lower(), value) for name, value in (*whole.headers, *proof)))


def serve(provider: Provider, request: Request) -> Served:
    return provider.answer(request, credentials(provider), Random(1))


@EVERY
@pytest.mark.parametrize("parts", [PARTS, RICH], ids=["plain", "rich"])
def test_there_and_back(provider: Provider, parts: Parts) -> None:
    served = serve(provider, call(provider, provider.request(parts)))
    judged = provider.judge(served.response)
    assert (judged.outcome, judged.error, judged.anomaly) == (Outcome.ACCEPTED, None, None), served.response
    assert served.keys == (KEY,)
    assert judged.message_id
    again = provider.judge(
        provider.answer(call(provider, provider.request(parts)), credentials(provider), Random(2)).response
    )
    assert again.message_id != judged.message_id


@EVERY
def test_a_batch_there_and_back(provider: Provider) -> None:
    batch = provider.batch_request(replace(PARTS, key="@@KEY@@", recipients=("@@TO@@",)))
    request = batch.filled(MANY)
    assert b"@@" not in request.body
    served = serve(provider, call(provider, request))
    judged = provider.judge_batch(served.response, len(MANY))
    assert [each.outcome for each in judged] == [Outcome.ACCEPTED] * len(MANY), served.response
    assert served.keys == tuple(key for key, _ in MANY)


@EVERY
def test_a_batch_of_another_size_than_was_answered_is_unclear_or_all_alike(provider: Provider) -> None:
    batch = provider.batch_request(replace(PARTS, key="@@KEY@@", recipients=("@@TO@@",)))
    response = serve(provider, call(provider, batch.filled(MANY))).response
    judged = provider.judge_batch(response, len(MANY) + 1)
    assert len(judged) == len(MANY) + 1
    assert len({each.outcome for each in judged}) == 1


@EVERY
def test_a_batch_above_the_maximum_is_refused(provider: Provider) -> None:
    most = provider.facts.api.max_batch or 1000
    batch = provider.batch_request(replace(PARTS, key="@@KEY@@", recipients=("@@TO@@",)))
    for count, taken in ((most, True), (most + 1, False)):
        request = batch.filled([(f"k{n}", f"u{n}@y.example") for n in range(count)])
        served = serve(provider, call(provider, request))
        judged = provider.judge_batch(served.response, count)
        assert len(judged) == count
        assert (judged[0].outcome is Outcome.ACCEPTED, len(served.keys)) == (taken, count * taken)


@EVERY
def test_placeholders_stand_in_the_body_as_they_are(provider: Provider) -> None:
    parts = replace(PARTS, key=KEY_PLACEHOLDER, recipients=(RECIPIENT_PLACEHOLDER,))
    body = provider.request(parts).body
    assert KEY_PLACEHOLDER.encode() in body
    assert RECIPIENT_PLACEHOLDER.encode() in body
    filled = body.replace(KEY_PLACEHOLDER.encode(), KEY.encode()).replace(
        RECIPIENT_PLACEHOLDER.encode(), b"b+c@y.example"
    )
    served = serve(provider, call(provider, replace(provider.request(parts), body=filled)))
    assert (provider.judge(served.response).outcome, served.keys) == (Outcome.ACCEPTED, (KEY,))


@EVERY
def test_wrong_credentials_take_nothing(provider: Provider) -> None:
    right = credentials(provider)
    wrong = Auth(right.user, Secret("wrong" * 8))
    for auth in (wrong, None):
        request = call(provider, provider.request(PARTS), wrong)
        if auth is None:
            names = ("authorization", "api-key", "api-token", "x-postmark-server-token", "x-smtpcom-api")
            request = replace(
                request, headers=tuple(each for each in request.headers if each[0] not in names)
            )
        served = serve(provider, request)
        judged = provider.judge(served.response)
        assert served.response.status in (401, 403)
        assert served.keys == ()
        assert (judged.outcome, judged.error) == (Outcome.REJECTED_PERM, "auth")


@EVERY
@pytest.mark.parametrize("parts", [replace(PARTS, sender="nobody"), replace(PARTS, recipients=("nobody",))])
def test_what_is_not_an_address_is_refused_in_the_vendors_words(provider: Provider, parts: Parts) -> None:
    served = serve(provider, call(provider, provider.request(parts)))
    judged = provider.judge(served.response)
    assert 400 <= served.response.status < 500
    assert (served.keys, judged.outcome) == ((), Outcome.REJECTED_PERM)
    assert judged.notes["message"]


@EVERY
def test_too_many_recipients_are_refused_in_the_vendors_words(provider: Provider) -> None:
    most = provider.facts.api.max_recipients
    if most is None:
        assert any("addresses" in each for each in provider.facts.unconfirmed)
        return
    people = tuple(f"u{number}@y.example" for number in range(most))
    last = people[-1].encode()
    request = provider.request(replace(PARTS, recipients=people))
    assert serve(provider, call(provider, request)).keys == (KEY,)
    one_more = _again(request.body, last)
    served = serve(provider, call(provider, replace(request, body=one_more)))
    judged = provider.judge(served.response)
    assert (served.keys, judged.outcome) == ((), Outcome.REJECTED_PERM)
    assert judged.notes["message"]


def _again(body: bytes, last: bytes) -> bytes:
    """The same call with its last recipient twice, the second time under another name."""
    other = b"one.more@y.example"
    try:
        shape = json.loads(body)
    except ValueError:  # Mailgun's form
        head, mark, rest = body.partition(last)
        boundary, name = body.partition(b"\r\n")[0], b'Content-Disposition: form-data; name="to"'
        return b"\r\n".join((head + mark, boundary, name, b"", other)) + rest
    return json.dumps(_one_more(shape, last.decode(), other.decode())).encode()


def _one_more(shape: object, last: str, other: str) -> object:
    match shape:
        case dict():
            return {name: _one_more(value, last, other) for name, value in shape.items()}
        case [*_, entry] if last in json.dumps(entry) and "," not in json.dumps(entry):
            return [*shape, json.loads(json.dumps(entry).replace(last, other))]
        case list():
            return [_one_more(each, last, other) for each in shape]
        case str() if shape.endswith((f",{last}", f", {last}")):  # Postmark's list
            return f"{shape},{other}"
    return shape


@EVERY
def test_what_is_too_large_is_refused_in_the_vendors_words(provider: Provider) -> None:
    most = provider.facts.api.max_request_bytes
    if most is None:
        return
    request = provider.request(PARTS)
    padding = b" " * (most + 1 - len(request.body))
    served = serve(provider, call(provider, replace(request, body=request.body + padding)))
    judged = provider.judge(served.response)
    assert (served.keys, judged.outcome) == ((), Outcome.REJECTED_PERM)
    assert judged.notes["message"]


@EVERY
def test_other_paths_methods_and_bodies_are_refused(provider: Provider) -> None:
    good = call(provider, provider.request(PARTS))
    for wrong in (
        replace(good, path="/nowhere"),
        replace(good, method="GET"),
        call(provider, replace(provider.request(PARTS), body=b"")),
        call(provider, replace(provider.request(PARTS), body=b"\xff[{" * 1000)),
        replace(good, headers=tuple(each for each in good.headers if each[0] != "content-type")),
    ):
        served = serve(provider, wrong)
        assert (served.keys, provider.judge(served.response).outcome) == ((), Outcome.REJECTED_PERM)


@EVERY
def test_a_message_needs_a_text(provider: Provider) -> None:
    for parts in (replace(PARTS, text=None), replace(PARTS, text="")):
        with pytest.raises(UsageError, match="text or an HTML part"):
            provider.request(parts)
        with pytest.raises(UsageError, match="text or an HTML part"):
            provider.batch_request(parts)


@EVERY
def test_the_sandbox_is_switched_on_or_refused(provider: Provider) -> None:
    sandbox = provider.facts.sandbox
    if sandbox is None:
        with pytest.raises(UsageError, match="sandbox"):
            provider.request(PARTS, sandbox=True)
        return
    request = provider.request(PARTS, sandbox=True)
    if sandbox.key is None:  # else the switch is the credential
        assert request != provider.request(PARTS)
    if sandbox.recipient is not None:
        assert sandbox.recipient.encode() in request.body
        assert PARTS.recipients[0].encode() not in request.body
    served = serve(provider, call(provider, request))
    assert provider.judge(served.response, sandbox=True).outcome is Outcome.ACCEPTED
    assert sandbox.caveat.endswith(".")
    if sandbox.smtp is None:
        with pytest.raises(UsageError, match="transport: api"):
            provider.smtp_headers(KEY, sandbox=True)
    else:
        provider.smtp_headers(KEY, sandbox=True)


@EVERY
def test_facts_are_whole(provider: Provider) -> None:
    facts = provider.facts
    assert all(url.startswith("https://") and not url.endswith("/") for url in facts.api.base_urls.values())
    assert facts.smtp.hosts
    assert facts.smtp.starttls_ports
    assert facts.api.environment is not None
    assert facts.smtp.environment is not None
    assert facts.unconfirmed
    assert (provider.name, provider.title) == (facts.name, facts.title)
    names = {name.lower() for name, _ in provider.smtp_headers(KEY)}
    assert names <= {name.lower() for name in facts.smtp.headers}
    assert provider.configured(None, {}) == provider or facts.api.auth is not AuthScheme.SIGNED


ODD = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=12,
    ).map(lambda shape: json.dumps(shape).encode()),
)


@EVERY
@settings(max_examples=60, deadline=None)
@given(status=st.sampled_from([200, 201, 202, 204, 302, 400, 401, 403, 422, 429, 500, 503]), body=ODD)
def test_no_answer_breaks_a_judge(provider: Provider, status: int, body: bytes) -> None:
    response = Response(status, (("content-type", "application/json"),), body)
    judged = provider.judge(response)
    if not 200 <= status < 300:
        assert judged.outcome is not Outcome.ACCEPTED
    each = provider.judge_batch(response, 3)
    assert len(each) == 3
    for found in (judged, *each):
        assert (found.error is None) == (found.outcome is Outcome.ACCEPTED)


def spoilt(shape: object, rng: Random) -> object:
    """The same with one value somewhere in it replaced by another kind of value."""
    if isinstance(shape, dict) and shape and rng.random() < 0.8:
        name = rng.choice(sorted(shape))
        return {**shape, name: spoilt(shape[name], rng)}
    if isinstance(shape, list) and shape and rng.random() < 0.8:
        at = rng.randrange(len(shape))
        return [*shape[:at], spoilt(shape[at], rng), *shape[at + 1 :]]
    return rng.choice([None, True, 0, -1.5, "", "x", [], {}, [None], {"a": None}, "a@b@c", ["a@y.example"]])


@EVERY
def test_no_request_breaks_the_mock(provider: Provider) -> None:
    rng = Random(3)
    batch = provider.batch_request(replace(PARTS, key="@@KEY@@", recipients=("@@TO@@",)))
    for request in (provider.request(RICH), batch.filled(MANY)):
        for _ in range(300):
            if provider.name == "mailgun":
                cut = rng.randrange(len(request.body))
                body = request.body[:cut] + rng.randbytes(3) + request.body[cut + rng.randrange(9) :]
            else:
                body = json.dumps(spoilt(json.loads(request.body), rng)).encode()
            served = serve(provider, call(provider, replace(request, body=body)))
            assert 200 <= served.response.status < 500


@EVERY
def test_the_mock_answers_fast(provider: Provider) -> None:
    """It must never be the bottleneck: 3,000 calls/s and more, with room for HTTP around it."""
    request, auth, rng = call(provider, provider.request(PARTS)), credentials(provider), Random(1)
    best = math.inf
    for _ in range(5):
        begun = time.process_time()
        for _ in range(100):
            provider.answer(request, auth, rng)
        best = min(best, (time.process_time() - begun) / 100)
    assert best < 1 / 6000
