"""Locust's fast user: POSTs without a pause; each user ends after its share, the last one ends the run."""

from __future__ import annotations

from pathlib import Path

# Locust lives in a folder of its own, where the type checker does not look.
from locust import FastHttpUser, events, task  # type: ignore[import-not-found]
from locust.exception import StopUser  # type: ignore[import-not-found]

HEADERS = {"Content-Type": "message/rfc822"}


@events.init_command_line_parser.add_listener  # type: ignore[misc, untyped-decorator, unused-ignore]
def _arguments(parser) -> None:  # type: ignore[no-untyped-def]
    parser.add_argument("--messages", type=int)
    parser.add_argument("--body")


class Sender(FastHttpUser):  # type: ignore[misc]
    """One connection."""

    taken = 0
    ended = 0
    body = b""

    def on_start(self) -> None:
        Sender.body = Sender.body or Path(self.environment.parsed_options.body).read_bytes()

    @task  # type: ignore[misc, untyped-decorator, unused-ignore]
    def send(self) -> None:
        options = self.environment.parsed_options
        if Sender.taken >= options.messages:
            Sender.ended += 1
            if Sender.ended == options.num_users:
                self.environment.runner.quit()
            raise StopUser
        Sender.taken += 1
        self.client.post("/", data=Sender.body, headers=HEADERS)
