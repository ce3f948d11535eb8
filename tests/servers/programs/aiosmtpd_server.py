"""aiosmtpd with STARTTLS and AUTH required; run by the Python that has it, not by the one of the tests.

Its one argument is the JSON object that `smtp_server.js` describes, without "modules".
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from itertools import count
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session  # type: ignore[import-not-found]


class Keeper:
    """Writes every message that it takes into a file of its own."""

    def __init__(self, folder: Path, refused: str) -> None:
        self._folder, self._refused = folder, refused
        self._numbers = count(1)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address == self._refused:
            return "550 5.7.1 not here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        path = self._folder / str(next(self._numbers))
        part = path.with_suffix(".part")
        part.write_bytes(envelope.content)
        part.rename(path)
        return "250 taken"


async def main(settings: dict[str, str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["cert"], settings["key"])
    wanted = (settings["user"].encode(), settings["password"].encode())
    keeper = Keeper(Path(settings["folder"]), settings["refused"])

    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == wanted
        return AuthResult(success=good, handled=False)  # handled: the answer would have been ours

    def connection() -> SMTP:
        return SMTP(
            keeper,
            hostname="localhost",
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=check,
        )

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", int(settings["port"]))
    await server.serve_forever()


asyncio.run(main(json.loads(sys.argv[1])))
