"""Secrets to be looked for, and every form in which servers and libraries echo one."""

from __future__ import annotations

import base64
import html
import json
import quopri
import urllib.parse
from collections.abc import Iterable


def cores(value: bytes) -> list[bytes]:
    """The part of a value's base64 that does not depend on its neighbours, for each alignment."""
    found = []
    for shift in range(3):
        digits = base64.b64encode(b"\0" * shift + value + b"\0" * 3)
        first, last = -(-8 * shift // 6), 8 * (shift + len(value)) // 6
        found.append(digits[first:last])
    return found


def forms(secret: str) -> dict[str, bytes]:
    """What servers and libraries make of a secret when they echo it."""
    raw = secret.encode()
    one_line = not {"\r", "\n"} & set(secret)  # quoted-printable drops or changes line ends
    return {
        "raw": raw,
        "lower": secret.lower().encode(),
        "upper": secret.upper().encode(),
        "base64": base64.b64encode(raw),
        "base64url": base64.urlsafe_b64encode(raw).rstrip(b"="),
        "percent": urllib.parse.quote(secret, safe="").encode(),
        "percent with slashes": urllib.parse.quote(secret).encode(),
        "percent plus": urllib.parse.quote_plus(secret).encode(),
        "percent all, lower case": "".join(f"%{byte:02x}" for byte in raw).encode(),
        "json": json.dumps(secret)[1:-1].encode(),
        "json utf-8": json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
        "json slashes": json.dumps(secret)[1:-1].replace("/", "\\/").encode(),
        "json upper hex": "".join(
            f"\\u{ord(one):04X}" if ord(one) < 65536 else one for one in secret
        ).encode(),
        "html": html.escape(secret).encode(),
        "html numeric": "".join(f"&#{ord(one)};" for one in secret).encode(),
        "html hex": "".join(f"&#x{ord(one):X};" for one in secret).encode(),
        "repr bytes": repr(raw)[2:-1].encode(),
        "repr": repr(secret)[1:-1].encode(),
        "ascii": ascii(secret)[1:-1].encode(),
        "quoted-printable": quopri.encodestring(raw, quotetabs=True).replace(b"=\n", b"")
        if one_line
        else raw,
        "hex": raw.hex().encode(),
        "hex upper": raw.hex().upper().encode(),
    }


def found_in(data: bytes, secrets: Iterable[str]) -> list[str]:
    """Which forms of which secrets stand there: as they are, and inside base64 wherever they begin."""
    found = []
    for secret in secrets:
        known = {name: form for name, form in forms(secret).items() if form in data}
        inside = [core for core in cores(secret.encode()) if core in data]
        inside += [core for core in cores(secret.encode()) if core.translate(_TO_URL) in data]
        found += [f"{name}: {form!r}" for name, form in known.items()] + [
            f"base64: {core!r}" for core in inside
        ]
    return found


_TO_URL = bytes.maketrans(b"+/", b"-_")
