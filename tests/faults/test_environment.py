"""H34: what a machine's environment says about proxies and credentials is no part of a measurement."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.running import carry_out


@pytest.mark.parametrize("client", ["wire", "httpx"])
def test_nothing_in_the_environment_leads_elsewhere(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    for tls in ("none", "implicit"):
        folder = tmp_path / tls
        folder.mkdir()
        done = carry_out(
            "[]", folder, monkeypatch, transport="api", provider="sendgrid", timeout="3s",
            overrides=(f"client={client}", f"tls={tls}"),
        )  # fmt: skip
        assert [row["outcome"] for row in done.rows] == ["accepted"]
