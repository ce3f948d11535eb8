"""Text that a hostile server, scenario or file could smuggle into a report, and a run full of it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pandas as pd

from bench.model import Answer, CaseSummary, Claim, ClaimVerdict, Summary, ThresholdResult, ThresholdVerdict
from tests.report.planted import Plan, Planted, plant

PAYLOADS = (
    "<script>alert(1)</script>",
    "</svg></style></title><img src=x onerror=alert(1)>",
    "\"><iframe src='javascript:alert(1)'></iframe>",
    "' onmouseover='alert(1)",
    "{{ 7*7 }}{% raw %}",
    "<!-- --><![CDATA[<b>]]>",
    "$\\frac{1}{0}$ $_{x}^{y}$",
    "\x1b]0;owned\x07\x1b[31mred\x1b[0m\x9b2J",
    "::set-output name=token::stolen",
    "##[command]rm -rf",
    "line\n::warning::next\r\nline",
    "=cmd|'/c calc'!A1",
    "+1+1",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1+1",
    "a|b|c",
    "[click](https://evil.example) ![x](https://evil.example/p.png) www.evil.example @everyone #1",
    "`code` **bold** <b>html</b> ~~gone~~",
    "\u202egnp.exe\u202c \u200bzero\u2028width\ufeff",
    "nul\x00 del\x7f \ud800 \uffff",
    "emoji 🙂 汉字 עברית",
    "x" * 600,
)


@cache
def _base() -> Planted:
    return plant((Plan("smtp", "unpooled", n=80), Plan("api", "pooled", n=80, failed=0.1)))


@cache
def hostile_run(payload: str) -> Planted:
    """A run in which every text that is not ours is `payload`."""
    run = _base()
    cases = tuple(_spoil(case, f"{payload}{index}", payload) for index, case in enumerate(run.summary.cases))
    info = replace(
        run.summary.run,
        id=payload,
        scenario=payload,
        description=payload,
        state=payload,
        started_at=payload,
        facts={payload: payload},
        tags={payload: payload},
        reason=payload,
    )
    answer = Answer((payload, payload), (Claim(payload, ClaimVerdict.HOLDS, payload),))
    names = {old.id: new.id for old, new in zip(run.summary.cases, cases, strict=True)}
    texts = {
        "case": [names[name] for name in run.frame["case"]],
        "key": [payload] * len(run.frame),
        "error": [payload] * len(run.frame),
        "reply": [payload.encode("utf-8", "surrogatepass")] * len(run.frame),
    }
    frame = run.frame.assign(**{name: pd.Series(values, dtype=object) for name, values in texts.items()})
    return Planted(Summary(info, cases), answer, frame)


def _spoil(case: CaseSummary, name: str, payload: str) -> CaseSummary:
    return replace(
        case,
        id=name,
        labels={**case.labels, "provider": payload, "client": name, "message.file": payload, payload: name},
        counts=replace(case.counts, accepted=case.counts.accepted - 3, failed=3),
        errors={payload: 3},
        error=payload,
        generator=replace(case.generator, valid=False, event_loop=payload, reasons=(payload, payload)),
        thresholds=(ThresholdResult(payload, None, ThresholdVerdict.FAIL, 3, note=payload),),
    )
