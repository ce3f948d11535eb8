"""X08 to X11: real mail needs everything that is asked for, and goes to nobody off the list."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import RefusedError, UsageError
from bench.message import Composer
from bench.model import Case, Message, Retry, Target, TargetKind, Template, TlsMode, TlsSettings, Transport
from bench.permit import (
    AllowList,
    Permission,
    Permit,
    config_folder,
    deliveries,
    plan_hash,
    recipients_in,
    require,
)
from bench.providers import PROVIDERS, composer_for
from bench.scenario import load_scenario
from tests.permits import fuzz_scenarios

CASES = int(os.environ.get("SENDBENCH_FUZZED_CASES", "10000"))
"""How many are made up; the long tier makes 100,000."""
ME = "ann@example.org"
ALLOWED = AllowList([ME, "@mine.example"])
NINE = [name for name in PROVIDERS if name != "generic"]


def case_of(folder: Path, *overrides: str, provider: str = "sendgrid", target: str = "live") -> Case:
    file = folder / "real.yaml"
    file.write_text(
        f"version: 1\nname: real\ntarget: {target}\nprovider: {provider}\nmessage: {{size: 8KiB}}\n"
        "load: {model: constant, rate: 1/s, messages: 20, warmup: 5}\n",
        encoding="utf-8",
    )
    (case,) = load_scenario(file, overrides=overrides).cases
    return replace(case, message=replace(case.message, recipients=(ME,)))


def permission(case: Case, **changes: object) -> Permission:
    whole = Permission(live=True, budget=25, confirm=plan_hash([case]), allow=ALLOWED)
    return replace(whole, **changes)  # type: ignore[arg-type]


def test_with_everything_it_may_be_sent(tmp_path: Path) -> None:
    case = case_of(tmp_path)
    assert deliveries([case]) == 25
    require([case], permission(case))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"live": False}, "needs --live"),
        ({"budget": 0}, "needs --budget N: .* this is 25"),
        ({"budget": 24}, "25 deliveries are more than --budget 24"),
        ({"confirm": ""}, "needs --confirm"),
        ({"confirm": "0123456789ab"}, "names another plan"),
        ({"allow": AllowList()}, "ann@example.org is not on the allow-list"),
        ({"allow": AllowList(["@mine.example"])}, "ann@example.org is not on the allow-list"),
    ],
)
def test_whatever_is_missing_is_named(tmp_path: Path, changes: dict[str, object], text: str) -> None:
    case = case_of(tmp_path)
    with pytest.raises(RefusedError, match=text) as refused:
        require([case], permission(case, **changes))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda case: replace(case, tls=TlsSettings(TlsMode.NONE)), "without TLS"),
        (lambda case: replace(case, tls=replace(case.tls, verify=False)), "certificate is checked"),
        (lambda case: replace(case, workers=2), "one process"),
        (lambda case: replace(case, load=replace(case.load, rates_per_s=(51.0,))), "at most 50/s"),
        (lambda case: replace(case, load=replace(case.load, concurrency=51)), "at most 50 at a time"),
        (lambda case: replace(case, load=replace(case.load, messages=None)), "has no budget"),
        (
            lambda case: replace(case, message=replace(case.message, recipients=(ME,) * 11)),
            "at most 10 recipients",
        ),
        (
            lambda case: replace(case, message=replace(case.message, recipients=(ME, "b@other.example"))),
            "b@other.example is not on the allow-list",
        ),
    ],
)
def test_whatever_is_too_much_is_named(tmp_path: Path, change: Callable[[Case], Case], text: str) -> None:
    case = change(case_of(tmp_path))
    with pytest.raises(RefusedError, match=text):
        require([case], permission(case, budget=1000))


def test_the_kill_switch_forbids_everything(tmp_path: Path) -> None:
    case, switch = case_of(tmp_path), tmp_path / "no-real-mail"
    switch.touch()
    with pytest.raises(RefusedError, match="switched off"):
        require([case], permission(case, kill_switch=switch))


def test_a_sandbox_needs_no_live_but_everything_else(tmp_path: Path) -> None:
    case = case_of(tmp_path, target="sandbox")
    require([case], permission(case, live=False))
    with pytest.raises(RefusedError, match="--budget"):
        require([case], permission(case, live=False, budget=0))


def test_the_hash_changes_with_what_is_sent_where(tmp_path: Path) -> None:
    case = case_of(tmp_path)
    others = [
        replace(case, provider="mailgun"),
        replace(case, region="eu"),
        replace(case, message=replace(case.message, recipients=("bob@mine.example",))),
        replace(case, message=replace(case.message, sender="other@mine.example")),
        replace(case, message=replace(case.message, subject="other")),
        replace(case, load=replace(case.load, messages=21)),
        replace(case, message=replace(case.message, eml=b"Subject: x\r\n\r\n")),
        replace(case, template=Template("{}")),
        replace(case, tls=replace(case.tls, verify=False)),
        replace(case, retry=Retry("temp")),
        replace(case, target=Target(TargetKind.SMTP, "smtp://mail.example", "mail.example", 25)),
    ]
    hashes = {plan_hash([each]) for each in (case, *others)} | {plan_hash([case, case])}
    assert len(hashes) == len(others) + 2
    assert plan_hash([case_of(tmp_path)]) == plan_hash([case])


# ---------------------------------------------------------------------- allow-list


def test_who_is_on_the_list() -> None:
    allowed = AllowList(["Ann@Example.org", "@mine.example"])
    assert allowed.allows("Ann@example.ORG")
    assert not allowed.allows("ann@example.org"), "what stands before the @ is the domain's affair"
    assert allowed.allows("anybody@Mine.Example")
    for stranger in (
        "a@sub.mine.example", "a@mine.example.evil.example", "a@notmine.example",
        "Ann@Example.org, b@x.example",
        "b@x.example <a@mine.example>", "a@x.example>\r\nRCPT TO:<a@mine.example", "", "@mine.example",
    ):  # fmt: skip
        assert not allowed.allows(stranger)


def test_the_list_is_a_file_of_the_persons_own(tmp_path: Path) -> None:
    file = tmp_path / "allowed"
    file.write_text("# me\nann@example.org   # at work\n\n@mine.example\n", encoding="utf-8")
    allowed = AllowList.read(file)
    assert allowed.allows("ann@example.org")
    assert allowed.allows("x@mine.example")
    assert not AllowList.read(tmp_path / "none").allows("ann@example.org")
    file.write_text("ann@example.org\nnot an address\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"{file}:2: "):
        AllowList.read(file)
    assert config_folder({"XDG_CONFIG_HOME": "/x"}) == Path("/x/sendbench")
    assert config_folder({"HOME": "/h"}) == Path("/h/.config/sendbench")


# ------------------------------------------------------------- what travels


@pytest.mark.parametrize("batch", [None, 5])
@pytest.mark.parametrize("provider", NINE)
def test_every_recipient_of_a_call_is_found_in_its_bytes(
    tmp_path: Path, provider: str, batch: int | None
) -> None:
    overrides = ["transport=api"] + ([f"batch={batch}"] if batch else [])
    case = case_of(tmp_path, *overrides, provider=provider)
    people = tuple(f"user{n}@mine.example" for n in range(5))
    case = replace(case, message=replace(case.message, recipients=people, rotate_recipients=True))
    message = next_message(case, batch or 1)
    found = set(recipients_in(message.payload, Transport.API))
    assert found == set(people if batch else people[:1])


def next_message(case: Case, count: int) -> Message:
    composer: Composer = composer_for(case, "run", seed=1, date=datetime(2026, 1, 1, tzinfo=UTC))[0]
    return composer.compose(0) if count == 1 else composer.compose_call(range(count))


STRANGER = "stranger@other.example"


@pytest.mark.parametrize(
    "body",
    [
        {"personalizations": [{"to": [{"email": ME}], "bcc": [{"email": STRANGER}]}]},
        {"To": ME, "Cc": f"Some <{STRANGER}>"},
        {"Destination": {"ToAddresses": [ME], "BccAddresses": [STRANGER]}},
        {"recipients": {"bulk_list": [{"address": STRANGER}]}},
        {"messageVersions": [{"to": [{"email": ME}]}, {"to": [{"email": STRANGER}]}]},
        [{"to": [ME]}, {"to": f"{ME}, {STRANGER}"}],
    ],
)
def test_a_stranger_in_a_call_is_refused(tmp_path: Path, body: object) -> None:
    message = Message(0, "k", "a@x.example", (ME,), json.dumps(body).encode())
    permit = Permit(permission(case_of(tmp_path)), 25)
    assert STRANGER in str(permit.refusal(message, Transport.API))
    assert permit.used == 0


@pytest.mark.parametrize("name", ["To", "cc", "BCC", "Resent-To", "X-MJ-TemplateErrorReporting"])
@pytest.mark.parametrize("transport", list(Transport))
def test_a_stranger_in_the_header_of_a_message_is_refused(
    tmp_path: Path, name: str, transport: Transport
) -> None:
    """Some servers go by it: over HTTP a server of one's own has nothing else to go by."""
    mime = f"Subject: x\r\n{name}: Some\r\n <{STRANGER}>\r\n\r\nto: hello\r\n".encode()
    permit = Permit(permission(case_of(tmp_path)), 25)
    assert STRANGER in str(permit.refusal(Message(0, "k", "a@x.example", (ME,), mime), transport))
    assert permit.refusal(
        Message(0, "k", "a@x.example", (ME,), mime.replace(STRANGER.encode(), ME.encode())), transport
    ) is None  # fmt: skip


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("https://api.example/send?rcpt=stranger%40other.example", "{}"),
        ("https://api.example/stranger@other.example", "{}"),
        ("https://api.example/send", '{"rcpt": "stranger@other.example"}'),
        ("https://api.example/send", '{"rcpt": "stranger\\u0040other.example"}'),
    ],
)
def test_a_stranger_written_into_a_call_of_ones_own_is_refused(tmp_path: Path, url: str, body: str) -> None:
    case = case_of(tmp_path)
    target = Target(TargetKind.HTTP, url, "api.example", 443, https=True)
    friend = Template('{"from": {from}, "mine": "%s", "me": "%s"}' % (ME, case.message.sender))  # noqa: UP031
    friendly = replace(case, target=replace(target, url="https://api.example/send"), template=friend)
    require([friendly], permission(friendly))
    case = replace(case, target=target, template=Template(body))
    with pytest.raises(RefusedError, match=r"stranger@other\.example is not on the allow-list"):
        require([case], permission(case))


@pytest.mark.parametrize(
    "body",
    [
        b"to=ann%40example.org&bcc=stranger%40other.example",
        (
            b'--x\r\nContent-Disposition: form-data; name="to"\r\n\r\nann@example.org\r\n--x\r\n'
            b'Content-Disposition: form-data; name="cc"\r\n\r\nstranger@other.example\r\n--x--\r\n'
        ),
        b"{not json",
    ],
)
def test_a_stranger_in_a_form_is_refused(tmp_path: Path, body: bytes) -> None:
    message = Message(0, "k", "a@x.example", (ME,), body)
    assert Permit(permission(case_of(tmp_path)), 25).refusal(message, Transport.API)


def test_sendgrids_own_header_names_recipients_too(tmp_path: Path) -> None:
    mime = b'Subject: x\r\nX-SMTPAPI: {"to": ["stranger@other.example"]}\r\n\r\nhello\r\n'
    permit = Permit(permission(case_of(tmp_path)), 25)
    assert STRANGER in str(permit.refusal(Message(0, "k", "a@x", (ME,), mime), Transport.SMTP))
    assert (
        permit.refusal(Message(0, "k", "a@x", (ME,), b"Subject: x\r\n\r\nhello\r\n"), Transport.SMTP) is None
    )


def test_the_budget_is_counted_by_deliveries(tmp_path: Path) -> None:
    permit = Permit(permission(case_of(tmp_path)), 5)
    message = Message(0, "k", "a@x", (ME, "b@mine.example"), b"Subject: x\r\n\r\n")
    assert [permit.refusal(message, Transport.SMTP) for _ in range(2)] == [None, None]
    assert permit.refusal(message, Transport.SMTP) == "refused: the budget is spent"
    assert permit.used == 4


def test_the_kill_switch_stops_a_run_on_its_way(tmp_path: Path) -> None:
    switch = tmp_path / "no-real-mail"
    permit = Permit(permission(case_of(tmp_path), kill_switch=switch), 5)
    message = Message(0, "k", "a@x", (ME,), b"Subject: x\r\n\r\n")
    assert permit.refusal(message, Transport.SMTP) is None
    switch.touch()
    permit._looked_ns = 0  # a second later
    assert "exists" in str(permit.refusal(message, Transport.SMTP))


_WORDS = st.sampled_from(["to", "cc", "Bcc", "ToAddresses", "recipients", "email", "address", "x", "name"])
_PEOPLE = st.sampled_from([ME, "a@mine.example", STRANGER, f"B <{STRANGER}>", f"{ME};{STRANGER}", "text"])
_SHAPES = st.recursive(
    _PEOPLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.timeout(3600)
@settings(max_examples=CASES // 5, deadline=None)
@given(_SHAPES.filter(lambda shape: isinstance(shape, dict)))
def test_no_shape_of_a_call_hides_a_stranger_below_a_recipients_name(shape: dict[str, object]) -> None:
    """F17: what the permit lets pass names nobody off the list, wherever in the body."""
    permit = Permit(Permission(allow=ALLOWED), 10**6)
    message = Message(0, "k", "a@x", (ME,), json.dumps(shape).encode())
    if permit.refusal(message, Transport.API) is None:
        assert STRANGER not in json.dumps(below(shape, named=False))


def below(shape: object, *, named: bool) -> list[object]:
    """An independent reading: every text that stands anywhere below such a name."""
    names = {"to", "cc", "bcc", "toaddresses", "recipients"}
    if isinstance(shape, dict):
        return [x for k, v in shape.items() for x in below(v, named=named or k.lower() in names)]
    if isinstance(shape, list):
        return [x for v in shape for x in below(v, named=named)]
    return [shape] if named else []


@pytest.mark.timeout(3600)
def test_no_fuzzed_scenario_sends_off_the_list_above_the_budget_or_unconfirmed(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """F17: what passes is allowed, paid for and confirmed."""
    found = fuzz_scenarios(CASES, tmp_path)
    record_property("cases", found.done)
    record_property("passed by the guard", found.permitted)
    record_property("deliveries let through", found.sent)
    record_property("messages held back", found.stopped)
    assert found.wrong == []
    assert found.permitted > CASES / 100
    assert found.sent > 4 * found.permitted
    assert found.stopped > found.permitted / 10, "something was held back on its way as well"
