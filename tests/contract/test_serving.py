from __future__ import annotations

import ssl
import urllib.request

import pytest

from bench.model import Parts
from bench.providers import get_provider
from tests.contract.serving import serving

PARTS = Parts("a@x.example", ("b@y.example",), "s", "text", None, (), (), "run-7", b"")


@pytest.mark.parametrize("tls", [False, True])
def test_a_provider_has_the_server_to_itself(tls: bool) -> None:
    sendgrid = get_provider("sendgrid")
    request = sendgrid.request(PARTS)
    with serving(sendgrid, tls=tls) as server:
        headers = dict((*request.headers, *sendgrid.auth_headers(server.auth)))
        call = urllib.request.Request(server.url + request.path, request.body, headers)
        context = ssl.create_default_context(cafile=server.ca_file) if tls else None
        with urllib.request.urlopen(call, context=context) as response:
            assert response.status == 202
            assert response.headers["X-Message-Id"]
        assert server.netloc.startswith("127.0.0.1:")
