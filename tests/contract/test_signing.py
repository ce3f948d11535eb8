"""Our SigV4 signatures against botocore's own, byte by byte, on the calls that we send."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from bench.model import Attachment, Auth, Parts, Secret
from bench.providers import get_provider
from bench.providers.base import Request

pytestmark = pytest.mark.slow
REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-2")


def test_a_thousand_signatures_are_those_of_botocore() -> None:
    pytest.importorskip("botocore", reason="botocore is not installed: make contract")
    rng = Random(20261124)
    for _ in range(1000):
        region, user, secret = rng.choice(REGIONS), f"AKIA{rng.getrandbits(80):020X}", rng.randbytes(30).hex()
        call = _call(rng, region)
        proof = dict(
            get_provider("ses").configured(region, {}).auth_headers(Auth(Secret(user), Secret(secret)), call)
        )
        assert proof["Authorization"] == _botocore(call, user, secret, region, proof["X-Amz-Date"])


def _call(rng: Random, region: str) -> Request:
    """One message or several, without a template's braces in it, to AWS or to this machine."""
    ses = get_provider("ses").configured(region, {})
    host = rng.choice((f"email.{region}.amazonaws.com", f"127.0.0.1:{rng.randrange(1, 65536)}"))
    people = tuple(f"u{rng.getrandbits(20)}@y.example" for _ in range(rng.randint(1, 5)))
    files = (Attachment("a.bin", "application/octet-stream", rng.randbytes(rng.randrange(99))),)
    parts = Parts(
        "a@x.example", people, _text(rng), _text(rng), rng.choice((None, f"<p>{_text(rng)}</p>")),
        (), rng.choice(((), files)), f"run-{rng.getrandbits(30)}", b"",
    )  # fmt: skip
    if rng.random() < 0.5:
        call = ses.request(parts)
    else:
        batch = ses.batch_request(replace(parts, key="@@KEY@@", recipients=("@@TO@@",)))
        call = batch.filled([(f"run-{each}", person) for each, person in enumerate(people)])
    return replace(call, headers=(*call.headers, ("Host", host)))


def _text(rng: Random) -> str:
    return "".join(chr(rng.choice((rng.randrange(32, 123), rng.randrange(160, 0x2000)))) for _ in range(40))


def _botocore(call: Request, user: str, secret: str, region: str, stamp: str) -> str:
    """What botocore would have put into Authorization at that moment."""
    auth = pytest.importorskip("botocore.auth")
    signer = auth.SigV4Auth(
        pytest.importorskip("botocore.credentials").Credentials(user, secret), "ses", region
    )
    headers = {"Content-Type": str(call.header("content-type")), "X-Amz-Date": stamp}
    url = f"https://{call.header('host')}{call.path}"
    request = pytest.importorskip("botocore.awsrequest").AWSRequest(call.method, url, headers, call.body)
    request.context["timestamp"] = stamp
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signed = signer.signed_headers(signer.headers_to_sign(request))
    scope, signature = signer.scope(request), signer.signature(text, request)
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={signature}"
