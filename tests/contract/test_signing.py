"""Our SigV4 signatures against botocore's own, byte by byte."""

from __future__ import annotations

import json
from random import Random

import pytest

from bench.providers import ses_signing
from bench.providers.base import uuid_text

pytestmark = pytest.mark.slow
PATHS = ("/v2/email/outbound-emails", "/v2/email/outbound-bulk-emails")


def test_a_thousand_signatures_are_those_of_botocore() -> None:
    auth = pytest.importorskip("botocore.auth", reason="botocore is not installed: make contract")
    awsrequest = pytest.importorskip("botocore.awsrequest")
    credentials = pytest.importorskip("botocore.credentials")
    rng = Random(20261124)
    for _ in range(1000):
        user, secret = f"AKIA{rng.getrandbits(80):020X}", rng.randbytes(30).hex()
        region = rng.choice(("us-east-1", "eu-west-1", "ap-southeast-2"))
        host = rng.choice((f"email.{region}.amazonaws.com", f"127.0.0.1:{rng.randrange(1, 65536)}"))
        path, body = rng.choice(PATHS), _body(rng)
        theirs = awsrequest.AWSRequest(
            "POST", f"https://{host}{path}", {"Content-Type": "application/json"}, body
        )
        auth.SigV4Auth(credentials.Credentials(user, secret), "ses", region).add_auth(theirs)
        stamp = theirs.headers["X-Amz-Date"]
        ours = ses_signing.authorization(
            "POST",
            path,
            {"content-type": "application/json", "host": host, "x-amz-date": stamp},
            body,
            user=user,
            secret=secret,
            region=region,
            stamp=stamp,
        )
        assert ours == theirs.headers["Authorization"]


def _body(rng: Random) -> bytes:
    text = "".join(chr(rng.choice((rng.randrange(32, 127), rng.randrange(160, 0x2000)))) for _ in range(40))
    return json.dumps({"id": uuid_text(rng), "text": text}, ensure_ascii=rng.random() < 0.5).encode()
