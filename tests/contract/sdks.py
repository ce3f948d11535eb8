"""The vendors' own Python packages, each told by its documented setting to address the mock.

Every package sends a plain message, sends several in a call where it can, and says by an error of its
own when it was refused. Silent retries are off.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from tests.contract.serving import Server

SENDER, SUBJECT, TEXT = "a@x.example", "hello", "A message of the contract tests."

Send = Callable[[Any, Server, str, str], str]
"""(the package, the server, the key, the recipient) -> the message id"""
SendMany = Callable[[Any, Server, Sequence[str]], Sequence[str]]
"""(the package, the server, a recipient for each message) -> the ids"""


class Errors(NamedTuple):
    """A package's own error of each kind, as `module:Class`."""

    wrong_key: str
    invalid: str
    throttled: str


@dataclass(frozen=True)
class Sdk:
    """One package."""

    module: str
    provider: str
    send: Send
    batch: SendMany | None
    errors: Errors
    tls: bool = False
    """Whether it speaks HTTPS only."""
    nobody: str = "nobody"
    """A recipient that the package lets pass and the vendor refuses."""

    def load(self) -> Any:
        """The package; the test is skipped where it is not installed."""
        return pytest.importorskip(self.module, reason=f"{self.module} is not installed: make contract")


def error(name: str) -> type[Exception]:
    """The class that `module:Class` names."""
    module, _, kind = name.partition(":")
    found: type[Exception] = getattr(importlib.import_module(module), kind)
    assert issubclass(found, Exception)
    return found


# ------------------------------------------------------------------------ SendGrid


def _sendgrid(sdk: Any, server: Server, key: str, to: object) -> str:
    mail = importlib.import_module("sendgrid.helpers.mail").Mail(
        from_email=SENDER, to_emails=to, subject=SUBJECT, plain_text_content=TEXT, is_multiple=True
    )
    response = sdk.SendGridAPIClient(key, host=server.url).send(mail)
    assert response.status_code == 202
    return str(response.headers["X-Message-Id"])


# ------------------------------------------------------------------------- Mailgun


def _mailgun(sdk: Any, server: Server, key: str, to: object, **more: str) -> str:
    policy = importlib.import_module("mailgun.config").RetryPolicy(max_retries=0)
    data = {"from": SENDER, "to": to, "subject": SUBJECT, "text": TEXT, **more}
    with sdk.Client(auth=("api", key), api_url=server.url, retry_policy=policy) as client:
        response = client.messages.create(domain="mg.x.example", data=data)
        response.raise_for_status()  # it hands refusals over as they are
        return str(response.json()["id"])


def _mailgun_batch(sdk: Any, server: Server, people: Sequence[str]) -> Sequence[str]:
    variables = "{" + ",".join(f'"{each}":{{"n":{n}}}' for n, each in enumerate(people)) + "}"
    return [_mailgun(sdk, server, server.key, list(people), **{"recipient-variables": variables})]


# ------------------------------------------------------------------------ Postmark


def _postmark_mail(to: str) -> dict[str, str]:
    return {"From": SENDER, "To": to, "Subject": SUBJECT, "TextBody": TEXT}


def _postmark(sdk: Any, server: Server, key: str, to: str) -> str:
    async def send() -> str:
        async with sdk.ServerClient(key, base_url=server.url, retries=0) as client:
            answer = await client.outbound.send(
                {"sender": SENDER, "to": to, "subject": SUBJECT, "text_body": TEXT}
            )
            return str(answer.message_id)

    return asyncio.run(send())


def _postmark_batch(sdk: Any, server: Server, people: Sequence[str]) -> Sequence[str]:
    mails = [{"sender": SENDER, "to": each, "subject": SUBJECT, "text_body": TEXT} for each in people]

    async def send() -> Sequence[str]:
        async with sdk.ServerClient(server.key, base_url=server.url, retries=0) as client:
            return [str(each.message_id) for each in await client.outbound.send_batch(mails)]

    return asyncio.run(send())


def _postmarker(sdk: Any, server: Server, key: str, to: str) -> str:
    client = sdk.PostmarkClient(server_token=key, root_api_url=f"{server.url}/")
    return str(client.emails.send(**_postmark_mail(to))["MessageID"])


def _postmarker_batch(sdk: Any, server: Server, people: Sequence[str]) -> Sequence[str]:
    client = sdk.PostmarkClient(server_token=server.key, root_api_url=f"{server.url}/")
    return [each["MessageID"] for each in client.emails.send_batch(*map(_postmark_mail, people))]


# -------------------------------------------------------------------------- Resend


def _resend_mail(to: str) -> dict[str, object]:
    return {"from": SENDER, "to": [to], "subject": SUBJECT, "text": TEXT}


def _resend(sdk: Any, server: Server, key: str, to: str) -> str:
    sdk.api_key, sdk.api_url = key, server.url
    return str(sdk.Emails.send(_resend_mail(to))["id"])


def _resend_batch(sdk: Any, server: Server, people: Sequence[str]) -> Sequence[str]:
    sdk.api_key, sdk.api_url = server.key, server.url
    return [each["id"] for each in sdk.Batch.send([_resend_mail(each) for each in people])["data"]]


# ----------------------------------------------------------------------------- SES


def _ses_client(sdk: Any, server: Server, key: str) -> Any:
    once = importlib.import_module("botocore.config").Config(retries={"total_max_attempts": 1})
    return sdk.client(
        "sesv2",
        endpoint_url=server.url,
        region_name="eu-west-1",
        aws_access_key_id=server.user,
        aws_secret_access_key=key,
        config=once,
    )


def _ses(sdk: Any, server: Server, key: str, to: str) -> str:
    answer = _ses_client(sdk, server, key).send_email(
        FromEmailAddress=SENDER,
        Destination={"ToAddresses": [to]},
        Content={"Simple": {"Subject": {"Data": SUBJECT}, "Body": {"Text": {"Data": TEXT}}}},
    )
    return str(answer["MessageId"])


def _ses_batch(sdk: Any, server: Server, people: Sequence[str]) -> Sequence[str]:
    template = {"TemplateContent": {"Subject": SUBJECT, "Text": TEXT}, "TemplateData": "{}"}
    answer = _ses_client(sdk, server, server.key).send_bulk_email(
        FromEmailAddress=SENDER,
        DefaultContent={"Template": template},
        BulkEmailEntries=[{"Destination": {"ToAddresses": [each]}} for each in people],
    )
    results = answer["BulkEmailEntryResults"]
    assert {each["Status"] for each in results} == {"SUCCESS"}
    return [each["MessageId"] for each in results]


# ------------------------------------------------------------------------- Mailjet


def _mailjet_mail(to: str) -> dict[str, object]:
    return {"From": {"Email": SENDER}, "To": [{"Email": to}], "Subject": SUBJECT, "TextPart": TEXT}


def _mailjet_send(sdk: Any, server: Server, key: str, people: Sequence[str]) -> Sequence[str]:
    with sdk.Client(auth=(server.user, key), version="v3.1", api_url=f"{server.url}/") as client:
        response = client.send.create(data={"Messages": [_mailjet_mail(each) for each in people]})
        return [str(each["To"][0]["MessageID"]) for each in response.json()["Messages"]]


def _mailjet(sdk: Any, server: Server, key: str, to: str) -> str:
    return _mailjet_send(sdk, server, key, [to])[0]


# --------------------------------------------------------------------------- Brevo


def _brevo_client(sdk: Any, server: Server, key: str) -> Any:
    return sdk.Brevo(api_key=key, base_url=f"{server.url}/v3", max_retries=0)


def _brevo(sdk: Any, server: Server, key: str, to: str) -> str:
    answer = _brevo_client(sdk, server, key).transactional_emails.send_transac_email(
        sender={"email": SENDER}, to=[{"email": to}], subject=SUBJECT, text_content=TEXT
    )
    return str(answer.message_id)


def _brevo_batch(sdk: Any, server: Server, people: Sequence[str]) -> Sequence[str]:
    answer = _brevo_client(sdk, server, server.key).transactional_emails.send_transac_email(
        sender={"email": SENDER},
        subject=SUBJECT,
        text_content=TEXT,
        message_versions=[{"to": [{"email": each}]} for each in people],
    )
    return list(answer.message_ids)


# ------------------------------------------------------------------------ SMTP.com


def _smtpcom_send(sdk: Any, server: Server, key: str, recipients: dict[str, object]) -> str:
    mail = {
        "channel": "tests",
        "recipients": recipients,
        "originator": {"from": {"address": SENDER}},
        "subject": SUBJECT,
        "body": {"parts": [{"content": TEXT, "type": "text/plain"}]},
    }
    response = sdk.SMTPAPIClient(api_key=key, host=server.url).send(mail)
    assert response.status_code == 200
    return str(response.to_dict["data"]["msg_id"])


def _smtpcom(sdk: Any, server: Server, key: str, to: str) -> str:
    return _smtpcom_send(sdk, server, key, {"to": [{"address": to}]})


def _smtpcom_batch(sdk: Any, server: Server, people: Sequence[str]) -> Sequence[str]:
    return [_smtpcom_send(sdk, server, server.key, {"bulk_list": [{"address": each} for each in people]})]


# ------------------------------------------------------------------------ Mailtrap


def _mailtrap_client(sdk: Any, server: Server, key: str) -> Any:
    return sdk.MailtrapClient(token=key, api_host=server.netloc)


def _mailtrap(sdk: Any, server: Server, key: str, to: str) -> str:
    mail = sdk.Mail(sender=sdk.Address(email=SENDER), to=[sdk.Address(email=to)], subject=SUBJECT, text=TEXT)
    return str(_mailtrap_client(sdk, server, key).send(mail)["message_ids"][0])


def _mailtrap_batch(sdk: Any, server: Server, people: Sequence[str]) -> Sequence[str]:
    batch = sdk.BatchSendEmailParams(
        base=sdk.BatchMail(sender=sdk.Address(email=SENDER), subject=SUBJECT, text=TEXT),
        requests=[sdk.BatchEmailRequest(to=[sdk.Address(email=each)]) for each in people],
    )
    answer = _mailtrap_client(sdk, server, server.key).batch_send(batch)
    return [each["message_ids"][0] for each in answer["responses"]]


SDKS = (
    Sdk(
        "sendgrid",
        "sendgrid",
        _sendgrid,
        lambda sdk, server, people: [_sendgrid(sdk, server, server.key, list(people))],
        Errors(
            "python_http_client.exceptions:UnauthorizedError",
            "python_http_client.exceptions:BadRequestsError",
            "python_http_client.exceptions:TooManyRequestsError",
        ),
        nobody="nobody@nowhere",
    ),
    Sdk("mailgun", "mailgun", _mailgun, _mailgun_batch, Errors(*["requests:HTTPError"] * 3)),
    Sdk(
        "postmark",
        "postmark",
        _postmark,
        _postmark_batch,
        Errors(
            "postmark.exceptions:InvalidAPIKeyException",
            "postmark.exceptions:ValidationException",
            "postmark.exceptions:RateLimitException",
        ),
    ),
    Sdk(
        "postmarker.core",
        "postmark",
        _postmarker,
        _postmarker_batch,
        Errors(*["postmarker.exceptions:ClientError"] * 3),
    ),
    Sdk(
        "resend",
        "resend",
        _resend,
        _resend_batch,
        Errors(
            "resend.exceptions:InvalidApiKeyError",
            "resend.exceptions:ValidationError",
            "resend.exceptions:RateLimitError",
        ),
    ),
    Sdk("boto3", "ses", _ses, _ses_batch, Errors(*["botocore.exceptions:ClientError"] * 3)),
    Sdk(
        "mailjet_rest",
        "mailjet",
        _mailjet,
        lambda sdk, server, people: _mailjet_send(sdk, server, server.key, people),
        Errors(
            "mailjet_rest.errors:MailjetAuthError",
            "mailjet_rest.errors:ValidationError",
            "mailjet_rest.errors:ApiRateLimitError",
        ),
    ),
    Sdk(
        "brevo",
        "brevo",
        _brevo,
        _brevo_batch,
        Errors(
            "brevo.core.api_error:ApiError",
            "brevo.errors:BadRequestError",
            "brevo.core.api_error:ApiError",
        ),
    ),
    Sdk(
        "smtpcom",
        "smtpcom",
        _smtpcom,
        _smtpcom_batch,
        Errors(
            "smtpcom.exceptions:UnauthorizedError",
            "smtpcom.exceptions:BadRequestsError",
            "smtpcom.exceptions:HTTPError",
        ),
    ),
    Sdk(
        "mailtrap",
        "mailtrap",
        _mailtrap,
        _mailtrap_batch,
        Errors(
            "mailtrap.exceptions:AuthorizationError",
            "mailtrap.exceptions:APIError",
            "mailtrap.exceptions:APIError",
        ),
        tls=True,
    ),
)
