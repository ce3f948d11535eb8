"""The provider of docs/adding-a-provider.md, taken from the page and held to what all are held to."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from bench.providers.base import Provider
from bench.report.providers import details
from tests.providers import test_all
from tests.providers.test_all import PARTS

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-provider.md"


@pytest.fixture(scope="module")
def provider() -> Provider:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {"__name__": "parcel"}
    exec(compile(code, str(PAGE), "exec", dont_inherit=True), names)  # the page is ours
    return cast(Callable[[], Provider], names["Parcel"])()


@pytest.mark.parametrize(
    "check",
    [
        test_all.test_a_batch_there_and_back,
        test_all.test_a_batch_of_another_size_than_was_answered_is_unclear_or_all_alike,
        test_all.test_a_batch_above_the_maximum_is_refused,
        test_all.test_placeholders_stand_in_the_body_as_they_are,
        test_all.test_wrong_credentials_take_nothing,
        test_all.test_other_paths_methods_and_bodies_are_refused,
    ],
    ids=lambda check: check.__name__,
)
def test_it_passes_what_all_providers_pass(provider: Provider, check: Callable[[Provider], None]) -> None:
    check(provider)


def test_there_and_back(provider: Provider) -> None:
    test_all.test_there_and_back(provider, PARTS)


def test_what_is_known_about_it_can_be_shown(provider: Provider) -> None:
    assert "limits over SMTP" in details(provider.facts)
    assert provider.throttled(3).status == 429
