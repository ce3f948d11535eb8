"""One rule of a fault script: what goes wrong, where, and to which occurrences."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from bench.model import Fault, Transport
from bench.scenario.section import Form
from bench.scenario.values import Duration, Share, Size, enum_of, one_of

SMTP_STEPS = (
    "connect", "tls", "banner", "ehlo", "helo", "starttls", "ehlo2", "auth", "challenge", "mail", "rcpt",
    "data", "bdat", "body", "dot", "idle", "rset", "noop", "quit",
)  # fmt: skip
"""Where something may go wrong over SMTP: at the answer to each, `connect`: before the first word; `tls`: at
the ClientHello; `ehlo2`: after STARTTLS; `dot`: the whole message is here, by DATA or by BDAT; `idle`: after
its answer."""
HTTP_STEPS = ("connect", "tls", "request", "body", "end", "status", "headers", "reply", "idle")
"""The same over an API. `request`: at its first byte; `body`: at the first of its body; `end`: it is whole;
`status`: before the answer; `headers`, `reply`: before the answer's headers, and half through its body."""
STEPS_OF = {Transport.SMTP: SMTP_STEPS, Transport.API: HTTP_STEPS}
STEPS = tuple(dict.fromkeys((*SMTP_STEPS, *HTTP_STEPS)))
ACTS = (
    "reply", "inject", "delay", "split", "drip", "flood", "stall", "throttle", "fin", "close", "halfclose",
    "rst", "restart", "certificate",
)  # fmt: skip
"""reply: say `text` instead; inject: say `text` after the answer, in the same segment; delay: answer late;
split, drip: a byte at a time (drip: `delay` apart); flood: `size` bytes of `text`; stall: never answer;
throttle: read no more; fin: end without an answer; close: answer, then end; halfclose: say no more but
listen; rst: reset; restart: reset all connections and let nobody in for `delay`; certificate: show one with
the flaw `text`."""
FLAWS = ("expired", "not_yet", "wrong_host", "unknown_ca", "self_signed", "no_intermediate")
_SAYING = ("reply", "inject")
_WAITING = ("delay", "drip", "restart")


class FaultForm(Form):
    """One rule of a script."""

    at: Annotated[str, one_of("step", STEPS), enum_of(STEPS)]
    do: Annotated[str, one_of("act", ACTS), enum_of(ACTS)]
    text: str | None = Field(None, description="What is said; a line end is added where it has none.")
    raw: bool = Field(False, description="Say `text` as it stands, without a line end.")
    nth: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Only the step's so-manieth occurrence at this mock."
    )
    use: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Only the so-manieth message or call of a connection."
    )
    connection: Annotated[int, Field(ge=1)] | None = Field(None, description="Only that connection.")
    share: Share = Field(1.0, description="Of what is left by then so much, at random, such as 5%.")
    delay: Duration = 0
    size: Size | None = Field(None, description="flood: how much; body: after how much of it.")

    taken: bool | None = Field(
        None, description="Whether the message is taken all the same; else as the answer's code says."
    )

    @model_validator(mode="after")
    def _sensible(self) -> FaultForm:
        if self.do in _SAYING and self.text is None:
            raise ValueError(f"{self.do} needs a text")
        if self.do in _WAITING and not self.delay:
            raise ValueError(f"{self.do} needs a delay")
        if self.do == "certificate" and self.text not in FLAWS:
            raise ValueError(f"certificate needs a text that names its flaw: {', '.join(FLAWS)}")
        return self

    def fault(self) -> Fault:
        """The same as data."""
        text = (self.text or "").encode("latin-1")
        if text and self.do in _SAYING and not self.raw and not text.endswith(b"\n"):
            text += b"\r\n"
        only = (self.nth, self.use, self.connection, self.share)
        return Fault(self.at, self.do, text, *only, self.delay, self.size or 0, self.taken)
