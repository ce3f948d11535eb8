"""What servers do to a message, and what becomes of it: the SMTP rows of the fault catalogue as data."""

from __future__ import annotations

from dataclasses import dataclass

from bench.model import Auth, Outcome, Secret, TlsMode
from bench.protocol.smtp_client import ClientConfig
from tests.protocol.talking import LOST, STUCK, TIMEOUT

A, F, U = Outcome.ACCEPTED, Outcome.FAILED, Outcome.UNKNOWN
R4, R5 = Outcome.REJECTED_TEMP, Outcome.REJECTED_PERM

AUTH = Auth(Secret("u"), Secret("pw"))
PLAIN = ClientConfig()
TLS = ClientConfig(TlsMode.STARTTLS, AUTH)
LOGIN = ClientConfig(auth=AUTH)
B, E, OK, GO = "220 here", "250 here", "250 ok", "354 go"
OFFERS_TLS, OFFERS_LOGIN = "250-here\n250 STARTTLS", "250-here\n250 AUTH LOGIN"
OFFERS_PLAIN = "250-here\n250 AUTH PLAIN LOGIN"
GROUPS, CHUNKS = "250-here\n250 PIPELINING", "250-here\n250-PIPELINING\n250 CHUNKING"
UP_TO_DATA = (B, E, OK, OK)
UP_TO_BODY = (*UP_TO_DATA, GO)
THREE = ("a@x.example", "b@x.example", "c@x.example")


@dataclass(frozen=True)
class Row:
    """A server's replies, and what becomes of the message."""

    name: str
    replies: tuple[str, ...]
    outcome: Outcome
    code: int | None = None
    error: str | None = None
    anomaly: str | None = None
    usable: bool = False
    config: ClientConfig = PLAIN
    sent: str | None = None
    """The commands, where they matter; the body is not among them."""
    starts: str = ""
    """With which they begin."""
    recipients: tuple[str, ...] = THREE[:1]
    one_segment: bool = False
    """Whether the fault is what comes in one segment, so that bytes on their own are another case."""


def bad(name: str, *replies: str, anomaly: str, outcome: Outcome = F, **more: object) -> Row:
    return Row(name, replies, outcome, None, "protocol", anomaly, **more)  # type: ignore[arg-type]


HELLO, TO_MAIL = "EHLO", "EHLO MAIL"
ROWS = [
    # banner
    Row("S08 closed at once", (LOST,), F, error="disconnected", sent=""),
    Row("S10 no banner", (TIMEOUT,), F, error="timeout", sent=""),
    Row("S11 banner 421", ("421 busy",), F, 421, "refused", sent=""),
    Row("S11 banner 554", ("554 no",), F, 554, "refused", sent=""),
    Row("S12 banner of many lines", ("220-here\n220 I am", E, OK, OK, GO, OK), A, 250, usable=True),
    bad("S12 banner of two codes", "220-here\n221 I am", anomaly="code_mismatch", sent=""),
    bad("S13 banner of HTTP", "HTTP/1.1 400 Bad Request", anomaly="malformed", sent=""),
    bad("S13 banner of TLS", "\x15\x03\x01\x00\x02\x02\x28", anomaly="malformed", sent=""),
    bad("S13 empty banner", "", anomaly="malformed", sent=""),
    bad("S14 two banners", "220 here\n220 again", anomaly="unsolicited", sent="", one_segment=True),
    bad("S14 half a banner more", "220 here\n220 ag", anomaly="unsolicited", sent="", one_segment=True),
    # EHLO
    Row(
        "S15 EHLO 502",
        (B, "502 what", E, OK, OK, GO, OK),
        A,
        250,
        usable=True,
        starts="EHLO HELO MAIL RCPT DATA",
    ),
    Row(
        "S15 a HELO offers nothing",
        (B, "500 what", "250-here\n250-PIPELINING\n250 SIZE 9", OK, OK, GO, OK),
        A,
        250,
        usable=True,
        starts="EHLO HELO MAIL RCPT DATA",
    ),
    Row("S16 EHLO 421", (B, "421 busy"), F, 421, "refused", sent=HELLO),
    Row("S16 EHLO 550", (B, "550 no"), F, 550, "refused", sent=HELLO),
    Row("S16 HELO refused, too", (B, "502 what", "550 no"), F, 550, "refused", sent="EHLO HELO"),
    Row(
        "S17 odd keywords",
        (B, "250-here\n250-size\n250-SIZE 5\n250-\n250-x-y z\n250 8bitmime", OK, OK, GO, OK),
        A,
        250,
        usable=True,
    ),
    Row(
        "S17 as many keywords as may be",
        (B, "250-here\n" + "250-X\n" * 254 + "250 Y", OK, OK, GO, OK),
        A,
        250,
        usable=True,
    ),
    bad(
        "S17 a thousand keywords",
        B,
        "250-here\n" + "250-X\n" * 1000 + "250 Y",
        anomaly="too_long",
        sent=HELLO,
    ),
    # TLS
    Row("S18 no STARTTLS", (B, "250-here\n250 AUTH PLAIN"), F, error="tls_missing", config=TLS, sent=HELLO),
    Row(
        "S18 HELO has no STARTTLS",
        (B, "502 what", "250 STARTTLS"),
        F,
        error="tls_missing",
        config=TLS,
        sent="EHLO HELO",
    ),
    Row("S19 STARTTLS 454", (B, OFFERS_TLS, "454 no"), F, 454, "refused", config=TLS, sent="EHLO STARTTLS"),
    Row("S19 STARTTLS 502", (B, OFFERS_TLS, "502 no"), F, 502, "refused", config=TLS, sent="EHLO STARTTLS"),
    bad("S19 STARTTLS junk", B, OFFERS_TLS, "go", anomaly="malformed", config=TLS, sent="EHLO STARTTLS"),
    Row(
        "S19 STARTTLS 250",
        (B, OFFERS_TLS, OK),
        F,
        250,
        "protocol",
        "bad_code",
        config=TLS,
        sent="EHLO STARTTLS",
    ),
    bad(
        "S20 injected",
        B,
        OFFERS_TLS,
        "220 go\n250 AUTH PLAIN",
        anomaly="injection",
        config=TLS,
        sent="EHLO STARTTLS",
        one_segment=True,
    ),
    bad(
        "S20 half injected",
        B,
        OFFERS_TLS,
        "220 go\n250-he",
        anomaly="injection",
        config=TLS,
        sent="EHLO STARTTLS",
        one_segment=True,
    ),
    Row(
        "S21 only what is offered after TLS",
        (B, "250-here\n250-AUTH PLAIN\n250 STARTTLS", "220 go", E),
        F,
        error="auth_missing",
        config=TLS,
        sent="EHLO STARTTLS (handshake)EHLO",
    ),
    # AUTH
    Row("S30 PLAIN 535", (B, OFFERS_PLAIN, "535 5.7.8 no"), F, 535, "auth", config=LOGIN, sent="EHLO AUTH"),
    Row(
        "S30 LOGIN 535",
        (B, OFFERS_LOGIN, "334 VXNlcg==", "334 UGFzcw==", "535 no"),
        F,
        535,
        "auth",
        config=LOGIN,
        sent="EHLO AUTH dQ== cHc=",
    ),
    Row(
        "S31 PLAIN 454 and nothing else is tried",
        (B, OFFERS_PLAIN, "454 later"),
        F,
        454,
        "auth",
        config=LOGIN,
        sent="EHLO AUTH",
    ),
    Row("S32 no AUTH", (B, E), F, error="auth_missing", config=LOGIN, sent=HELLO),
    Row(
        "S32 no mechanism we know",
        (B, "250-here\n250 AUTH GSSAPI"),
        F,
        error="auth_missing",
        config=LOGIN,
        sent=HELLO,
    ),
    Row("S32 MAIL 530", (B, E, "530 first"), F, 530, "auth_missing", usable=True, sent=TO_MAIL),
    Row("S32 MAIL 538", (B, E, "538 first"), F, 538, "auth_missing", usable=True, sent=TO_MAIL),
    bad(
        "S33 no base64", B, OFFERS_LOGIN, "334 Username:", anomaly="malformed", config=LOGIN, sent="EHLO AUTH"
    ),
    bad(
        "S33 no base64 again",
        B,
        OFFERS_LOGIN,
        "334 VXNlcg==",
        "334 %%%",
        anomaly="malformed",
        config=LOGIN,
        sent="EHLO AUTH dQ==",
    ),
    Row(
        "S33 an empty challenge is one",
        (B, OFFERS_LOGIN, "334 ", "334", "235 in", OK, OK, GO, OK),
        A,
        250,
        usable=True,
        config=LOGIN,
    ),
    Row(
        "S33 endless 334",
        (B, OFFERS_LOGIN, "334 QQ==", "334 QQ==", "334 QQ=="),
        F,
        334,
        "protocol",
        "bad_code",
        config=LOGIN,
        sent="EHLO AUTH dQ== cHc=",
    ),
    Row(
        "S33 334 to PLAIN",
        (B, OFFERS_PLAIN, "334 "),
        F,
        334,
        "protocol",
        "bad_code",
        config=LOGIN,
        sent="EHLO AUTH",
    ),
    bad(
        "S33 235 with garbage",
        B,
        OFFERS_PLAIN,
        "235garbage",
        anomaly="bad_code",
        config=LOGIN,
        sent="EHLO AUTH",
    ),
    Row(
        "S33 250 instead of 235",
        (B, OFFERS_PLAIN, OK),
        F,
        250,
        "protocol",
        "bad_code",
        config=LOGIN,
        sent="EHLO AUTH",
    ),
    # envelope
    *[
        Row(
            f"S35 MAIL {code}",
            (B, E, f"{code} 4.3.0 busy"),
            R4,
            code,
            "rejected",
            usable=code != 421,
            sent=TO_MAIL,
        )
        for code in (451, 452, 421)
    ],
    *[
        Row(f"S36 MAIL {code}", (B, E, f"{code} no"), R5, code, "rejected", usable=True, sent=TO_MAIL)
        for code in (550, 553, 552, 501)
    ],
    Row(
        "S36 too large: the group carries no body",
        (B, "250-here\n250-PIPELINING\n250 SIZE 9", "552 size\n503 a\n503 b"),
        R5,
        552,
        "rejected",
        usable=True,
        sent="EHLO MAIL RCPT DATA",
    ),
    Row(
        "S36 too large: no chunk goes with it",
        (B, "250-here\n250-PIPELINING\n250-CHUNKING\n250 SIZE 9", "552 size\n503 a"),
        R5,
        552,
        "rejected",
        usable=True,
        sent="EHLO MAIL RCPT",
    ),
    Row("S37 MAIL 555", (B, E, "555 what"), R5, 555, "param", usable=True, sent=TO_MAIL),
    Row(
        "S38 some refused",
        (B, E, OK, OK, "550 no", "452 full", GO, OK),
        A,
        250,
        usable=True,
        recipients=THREE,
    ),
    Row(
        "S39 all refused",
        (B, E, OK, "550 no", "550 no", "452 full"),
        R4,
        452,
        "rejected",
        usable=True,
        recipients=THREE,
        sent="EHLO MAIL RCPT RCPT RCPT",
    ),
    Row(
        "S39 all refused at once",
        (B, GROUPS, "250 ok\n550 no\n554 none"),
        R5,
        550,
        "rejected",
        usable=True,
        sent="EHLO MAIL RCPT DATA",
    ),
    Row(
        "S39 354 although all are refused",
        (B, GROUPS, "250 ok\n550 no\n354 go", "554 none"),
        R5,
        550,
        "rejected",
        usable=True,
        sent="EHLO MAIL RCPT DATA .",
    ),
    Row(
        "S39 even the empty text is taken",
        (B, GROUPS, "250 ok\n550 no\n354 go", OK),
        R5,
        550,
        "rejected",
        usable=True,
        sent="EHLO MAIL RCPT DATA .",
    ),
    Row(
        "S39 the empty text is never answered",
        (B, GROUPS, "250 ok\n550 no\n354 go", LOST),
        R5,
        550,
        "rejected",
        sent="EHLO MAIL RCPT DATA .",
    ),
    Row("S39 BDAT refused, too", (B, CHUNKS, "250 ok\n550 no\n554 none"), R5, 550, "rejected", usable=True),
    Row(
        "S39 BDAT taken, though for nobody",
        (B, CHUNKS, "250 ok\n550 no\n250 ok"),
        U,
        None,
        "protocol",
        "bad_code",
    ),
    Row(
        "S41 RCPT 251 and 252",
        (B, E, OK, "251 on", "252 perhaps", "250 ok", GO, OK),
        A,
        250,
        usable=True,
        recipients=THREE,
    ),
    Row(
        "S42 greylisted",
        (B, E, OK, "451 4.7.1 later"),
        R4,
        451,
        "greylist",
        usable=True,
        sent="EHLO MAIL RCPT",
    ),
    Row("MAIL refused in a group", (B, GROUPS, "451 busy\n503 a\n503 b"), R4, 451, "rejected", usable=True),
    Row(
        "MAIL refused, the rest taken: no text",
        (B, GROUPS, "451 busy\n250 ok\n354 go"),
        R4,
        451,
        "rejected",
        sent="EHLO MAIL RCPT DATA",
    ),
    Row("MAIL refused, the rest never answered", (B, GROUPS, "550 no", TIMEOUT), R5, 550, "rejected"),
    Row("MAIL refused, the chunk gone for nothing", (B, CHUNKS, "550 no", LOST), R5, 550, "rejected"),
    Row(
        "RCPT 421",
        (B, E, OK, OK, "421 bye"),
        R4,
        421,
        "rejected",
        recipients=THREE,
        sent="EHLO MAIL RCPT RCPT",
    ),
    Row("MAIL 354", (B, E, GO), F, 354, "protocol", "bad_code", sent=TO_MAIL),
    # DATA
    Row("S45 no 354", (*UP_TO_DATA, TIMEOUT), F, error="timeout"),
    Row("S45 no 354, lost", (*UP_TO_DATA, LOST), F, error="disconnected"),
    Row(
        "S46 DATA 451", (*UP_TO_DATA, "451 no"), R4, 451, "rejected", usable=True, sent="EHLO MAIL RCPT DATA"
    ),
    Row(
        "S46 DATA 554", (*UP_TO_DATA, "554 no"), R5, 554, "rejected", usable=True, sent="EHLO MAIL RCPT DATA"
    ),
    Row("S46 DATA 250", (*UP_TO_DATA, OK), F, 250, "protocol", "bad_code", sent="EHLO MAIL RCPT DATA"),
    Row("S46 354 twice", (*UP_TO_BODY, GO), U, 354, "protocol", "bad_code"),
    Row(
        "S46 354 twice at once",
        (*UP_TO_DATA, "354 go\n354 go", OK),
        U,
        None,
        "protocol",
        "unsolicited",
        one_segment=True,
    ),
    Row(
        "S47 a fake 250 and a real 554",
        (*UP_TO_DATA, "354 go\n250 fake", "554 real"),
        R5,
        554,
        "rejected",
        "unsolicited",
        one_segment=True,
    ),
    Row(
        "S47 a fake 250 and a real one",
        (*UP_TO_DATA, "354 go\n250 fake", OK),
        U,
        None,
        "protocol",
        "unsolicited",
        one_segment=True,
    ),
    Row(
        "S47 a fake 250 and silence",
        (*UP_TO_DATA, "354 go\n250 fake", TIMEOUT),
        U,
        None,
        "timeout",
        "unsolicited",
        one_segment=True,
    ),
    Row(
        "S47 in a group",
        (B, GROUPS, "250 ok\n250 ok\n354 go\n250 fake", "554 real"),
        R5,
        554,
        "rejected",
        "unsolicited",
        one_segment=True,
    ),
    Row("S48 stuck in the body", (*UP_TO_DATA, STUCK, GO, TIMEOUT), F, error="timeout"),
    Row("S49 lost in the body", (*UP_TO_DATA, STUCK, GO, LOST), F, error="disconnected"),
    Row("S50 421 in the body", (*UP_TO_DATA, STUCK, GO, "421 stop"), R4, 421, "rejected"),
    Row("S50 550 in the body", (*UP_TO_DATA, STUCK, GO, "550 stop"), R5, 550, "rejected"),
    Row("S50 250 in the body", (*UP_TO_DATA, STUCK, GO, "250 done"), F, 250, "protocol", "unsolicited"),
    Row("S50 550 in the chunk", (B, STUCK, CHUNKS, "250 ok\n250 ok\n550 stop"), R5, 550, "rejected"),
    Row("S51 lost after the dot", (*UP_TO_BODY, LOST), U, error="disconnected"),
    Row("S51 silence after the dot", (*UP_TO_BODY, TIMEOUT), U, error="timeout"),
    Row("S51 lost after the chunk", (B, CHUNKS, LOST), U, error="disconnected"),
    *[
        Row(f"S53 {code}", (*UP_TO_BODY, f"{code} fine"), A, code, usable=True)
        for code in (250, 251, 252, 299)
    ],
    *[
        Row(
            f"S54 {code}",
            (*UP_TO_BODY, f"{code} no"),
            R4 if code < 500 else R5,
            code,
            "rejected",
            usable=True,
        )
        for code in (451, 452, 550, 552, 554)
    ],
    Row("421 to the text", (*UP_TO_BODY, "421 bye"), R4, 421, "rejected"),
    *[
        bad(f"S55 {text!r}", *UP_TO_BODY, text, anomaly="bad_code", outcome=U)
        for text in (
            "150 x",
            "650 x",
            "25",
            "2500",
            " 25",
            " 250 ok",
            "2_5",
            "2_5 ok",
            "+250 ok",
            "000 x",
            "999 x",
            "-250 x",
            "250ok",
        )
    ],
    Row("S55 354", (*UP_TO_BODY, "354 x"), U, 354, "protocol", "bad_code"),
    bad("S56 two codes", *UP_TO_BODY, "550-rejected\n250 ok", anomaly="code_mismatch", outcome=U),
    # replies
    bad("S61 a line of 2049", *UP_TO_BODY, "250 " + "x" * 2043, anomaly="too_long", outcome=U),
    Row("S61 a line of 2048", (*UP_TO_BODY, "250 " + "x" * 2042), A, 250, usable=True),
    bad("S61 a reply of 257 lines", *UP_TO_BODY, "250-x\n" * 256 + "250 x", anomaly="too_long", outcome=U),
    Row("S61 a reply of 256 lines", (*UP_TO_BODY, "250-x\n" * 255 + "250 x"), A, 250, usable=True),
    bad(
        "S61 a reply of 64 kB",
        *UP_TO_BODY,
        ("250-" + "x" * 2000 + "\n") * 40 + "250 x",
        anomaly="too_long",
        outcome=U,
    ),
    bad("S63 CR CR LF", *UP_TO_BODY, "250 ok\r", anomaly="malformed", outcome=U),
    bad("S63 a bare CR", *UP_TO_BODY, "250 o\rk", anomaly="malformed", outcome=U),
    Row("S64 any bytes", (*UP_TO_BODY, "250 \x00\x80\xff\x1b[31m<script>::set-output"), A, 250, usable=True),
    bad("S65 letters", *UP_TO_BODY, "OK 250", anomaly="malformed", outcome=U),
    Row(
        "S65 another enhanced code",
        (*UP_TO_BODY, "250 5.1.1 ok"),
        A,
        250,
        anomaly="enhanced_mismatch",
        usable=True,
    ),
    # connection
    Row("S66 421 to MAIL", (B, E, "421 enough"), R4, 421, "rejected", sent=TO_MAIL),
    bad(
        "S69 421 behind the answer to MAIL",
        B,
        E,
        "250 ok\n421 bye",
        anomaly="unsolicited",
        sent=TO_MAIL,
        one_segment=True,
    ),
    bad("an answer twice", B, E, "250 ok\n250 ok", anomaly="unsolicited", sent=TO_MAIL, one_segment=True),
    Row(
        "accepted, then 421 at once",
        (*UP_TO_BODY, "250 ok\n421 bye"),
        A,
        250,
        anomaly="unsolicited",
        one_segment=True,
    ),
    Row(
        "a chunk accepted, then 421 at once",
        (B, CHUNKS, "250 ok\n250 ok\n250 ok\n421 bye"),
        A,
        250,
        anomaly="unsolicited",
        one_segment=True,
    ),
    Row(
        "one reply too many to a group",
        (B, CHUNKS, "250 ok\n250 ok\n250 ok\n554 no"),
        U,
        250,
        "protocol",
        "unsolicited",
        one_segment=True,
    ),
    Row(
        "refused, then 421 at once",
        (*UP_TO_BODY, "554 no\n421 bye"),
        R5,
        554,
        "rejected",
        "unsolicited",
        one_segment=True,
    ),
]
