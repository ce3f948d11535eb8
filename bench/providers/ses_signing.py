"""AWS Signature Version 4, and the SMTP password that is derived from a secret key.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html and
https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote

SERVICE = "ses"
ALGORITHM = "AWS4-HMAC-SHA256"


def authorization(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    user: str,
    secret: str,
    region: str,
    stamp: str,
) -> str:
    """The Authorization header for a request. `headers`: those to sign, names in lower case, host and
    x-amz-date among them; `stamp`: `time_stamp` of that date."""
    names = ";".join(sorted(headers))
    scope = f"{stamp[:8]}/{region}/{SERVICE}/aws4_request"
    signed = signature(method, path, headers, body, secret=secret, region=region, stamp=stamp)
    return f"{ALGORITHM} Credential={user}/{scope}, SignedHeaders={names}, Signature={signed}"


def signature(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    secret: str,
    region: str,
    stamp: str,
) -> str:
    """The signature alone."""
    names = sorted(headers)
    plain, _, query = path.partition("?")
    canonical = "\n".join(
        (
            method,
            quote(plain, safe="/-_.~"),
            "&".join(sorted(query.split("&"))) if query else "",
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{stamp[:8]}/{region}/{SERVICE}/aws4_request"
    to_sign = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    return hmac.new(_key(secret, stamp[:8], region), to_sign.encode(), "sha256").hexdigest()


def time_stamp(moment: datetime) -> str:
    """`20261124T122100Z`."""
    return moment.strftime("%Y%m%dT%H%M%SZ")


@lru_cache(16)  # it changes once a day
def _key(secret: str, date: str, region: str) -> bytes:
    return _chain(f"AWS4{secret}".encode(), (date, region, SERVICE, "aws4_request"))


def smtp_password(secret: str, region: str) -> str:
    """The password that belongs to an access key over SMTP; the key's id is the user."""
    steps = ("11111111", region, SERVICE, "aws4_request", "SendRawEmail")
    return b64encode(b"\x04" + _chain(f"AWS4{secret}".encode(), steps)).decode("ascii")


def _chain(key: bytes, steps: Sequence[str]) -> bytes:
    for step in steps:
        key = hmac.new(key, step.encode(), "sha256").digest()
    return key
