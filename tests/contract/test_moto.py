"""SES calls as the wire client makes them, against a mock that nobody here wrote: moto's server.

moto 5.2 has no bulk call: the test of it is expected to fail, and will say so when moto learns it. Until then
that call is held to the service model (tests/providers/test_vendor_specs.py) and to boto3 (test_sdks.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs import run_text

pytestmark = pytest.mark.slow
SCENARIO = """\
version: 1
name: moto
target: {url}
provider: ses
transport: api
region: us-east-1
connection: {connection}
client: {client}
auth: {{user: "${{env:SES_USER}}", password: "${{env:SES_SECRET}}"}}
message: {{size: 2KiB, recipients: 2}}
load: {{model: closed, concurrency: 2, messages: 12, warmup: 0}}
"""


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = pytest.importorskip("moto.server", reason="moto is not installed: make contract")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SES_USER", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("SES_SECRET", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


def verified(url: str, address: str) -> None:
    """Have moto know the sender, as SES asks for."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed: make contract")
    client = boto3.client(
        "sesv2",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    client.create_email_identity(EmailIdentity=address)
    client.close()


@pytest.mark.parametrize("client", ["wire", "httpx"])
@pytest.mark.parametrize("connection", ["pooled", "unpooled"])
@pytest.mark.usefixtures("credentials")
def test_moto_takes_every_message(moto_url: str, client: str, connection: str, tmp_path: Path) -> None:
    verified(moto_url, "sender@sendbench.example")
    run = run_text(SCENARIO.format(url=moto_url, client=client, connection=connection), tmp_path)
    assert set(run.frame["outcome"]) == {"accepted"}
    assert len(run.frame) == 12


@pytest.mark.xfail(strict=True, reason="moto 5.2 has no bulk call")
@pytest.mark.usefixtures("credentials")
def test_moto_takes_every_message_of_a_bulk_call(moto_url: str, tmp_path: Path) -> None:
    verified(moto_url, "sender@sendbench.example")
    text = SCENARIO.format(url=moto_url, client="wire", connection="pooled").replace(
        "recipients: 2", "recipients: 1"
    )
    run = run_text(text + "batch: 6\n", tmp_path)
    assert set(run.frame["outcome"]) == {"accepted"}


@pytest.mark.usefixtures("credentials")
def test_a_sender_moto_does_not_know_is_refused_with_its_code(moto_url: str, tmp_path: Path) -> None:
    text = SCENARIO.format(url=moto_url, client="wire", connection="pooled")
    run = run_text(text.replace("message: {", "message: {from: stranger@elsewhere.example, "), tmp_path)
    assert set(run.frame["outcome"]) == {"rejected_perm"}
    assert "MessageRejected" in str(run.stored.table().to_pylist()[0]["reply"]) + str(
        run.stored.table().to_pylist()[0]["notes"]
    ) + str(run.stored.table().to_pylist()[0]["enhanced_code"])
