"""What each provider's own answers mean, written out from their documentation and not from our judges."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from bench.providers import PROVIDERS
from bench.providers.base import Headers, Response

ID = "b7bc2f4a-e38e-4336-af7d-e6c392c2f817"
GOOD = "accepted"
NO = "rejected_perm invalid"
AUTH = "rejected_perm auth"
LATER = "rejected_temp throttle"
OPEN = "unknown protocol"


class Single(NamedTuple):
    """An answer to one message and what it means."""

    provider: str
    status: int
    body: object
    meaning: str
    headers: Headers = ()


def postmark(code: int, text: str) -> dict[str, object]:
    return {"ErrorCode": code, "Message": text}


def mailjet(*results: object) -> dict[str, object]:
    return {"Messages": list(results)}


MAILJET_GOOD = {"Status": "success", "To": [{"Email": "b@y", "MessageID": 1152921500000000001}]}
MAILJET_BAD = {
    "Status": "error",
    "Errors": [{"ErrorCode": "mj-0013", "StatusCode": 400, "ErrorMessage": "not an address"}],
}

SINGLES = [
    Single("sendgrid", 202, b"", GOOD, (("x-message-id", "abc"),)),
    Single("sendgrid", 202, b"", "unknown protocol no_id"),
    Single("sendgrid", 413, {"errors": [{"message": "too large"}]}, "rejected_perm size"),
    Single("sendgrid", 401, {"errors": [{"message": "no"}]}, AUTH),
    Single("sendgrid", 429, {"errors": [{"message": "too many requests"}]}, LATER),
    Single("mailgun", 200, {"id": "<1@mg.example>", "message": "Queued. Thank you."}, GOOD),
    Single("mailgun", 200, {"message": "Queued. Thank you."}, "unknown protocol no_id"),
    Single("mailgun", 401, b'"Forbidden"', AUTH),
    Single("mailgun", 400, {"message": "to parameter is not a valid address"}, NO),
    Single("postmark", 200, {"ErrorCode": 0, "Message": "OK", "MessageID": ID}, GOOD),
    Single("postmark", 200, postmark(300, "Invalid 'From' address"), NO),  # its own word counts, not HTTP's
    Single("postmark", 422, postmark(406, "inactive recipient"), NO),
    Single("postmark", 422, postmark(429, "the code is no HTTP status"), NO),
    Single("postmark", 401, postmark(10, "bad token"), AUTH),
    Single("postmark", 422, postmark(412, "account pending"), "rejected_perm config"),
    Single("postmark", 503, b"", "rejected_temp unavailable"),
    Single("postmark", 500, postmark(0, "?"), "unknown server"),
    Single("resend", 200, {"id": ID}, GOOD),
    Single("resend", 409, {"statusCode": 409, "name": "x", "message": "y"}, "rejected_perm conflict"),
    Single("resend", 409, {"statusCode": 409, "name": "concurrent_idempotent_requests", "message": "y"},
           "unknown conflict"),
    Single("resend", 409, {"statusCode": 409, "name": "invalid_idempotent_request", "message": "y"},
           "rejected_perm conflict"),
    Single("resend", 403, {"statusCode": 403, "name": "validation_error", "message": "not verified"}, NO),
    Single("resend", 403, {"statusCode": 403, "name": "invalid_api_key", "message": "y"}, AUTH),
    Single("resend", 500, {"statusCode": 500, "name": "validation_error", "message": "y"}, "unknown server"),
    Single("resend", 422, {"statusCode": 422, "name": "missing_required_field", "message": "y"}, NO),
    Single("resend", 429, {"statusCode": 429, "name": "daily_quota_exceeded", "message": "y"}, LATER),
    Single("ses", 200, {"MessageId": "0100-x"}, GOOD),
    Single("ses", 400, {"message": "x"}, NO, (("x-amzn-errortype", "MessageRejected:http://x"),)),
    Single("ses", 400, {"message": "x"}, LATER, (("x-amzn-errortype", "ThrottlingException"),)),
    Single("ses", 400, {"message": "x"}, "rejected_perm config",
           (("x-amzn-errortype", "MailFromDomainNotVerifiedException"),)),
    Single("ses", 400, {"message": "x"}, AUTH, (("x-amzn-errortype", "SendingPausedException"),)),
    Single("ses", 403, {"message": "x"}, "rejected_perm clock", (("x-amzn-errortype", "RequestExpired"),)),
    Single("ses", 500, {"message": "x"}, "unknown server", (("x-amzn-errortype", "ThrottlingException"),)),
    Single("ses", 429, {"message": "x"}, LATER, (("x-amzn-errortype", "TooManyRequestsException"),)),
    Single("mailjet", 200, mailjet(MAILJET_GOOD), GOOD),
    Single("mailjet", 200, mailjet(MAILJET_BAD), NO),
    Single("mailjet", 400, mailjet(MAILJET_BAD), NO),
    Single("mailjet", 400, mailjet({"Status": "error", "Errors": [
        {"ErrorCode": "send-0008", "StatusCode": 403, "ErrorMessage": "sender"}]}), AUTH),
    Single("mailjet", 401, {"ErrorCode": "mj-0015", "ErrorMessage": "no", "StatusCode": 401}, AUTH),
    Single("brevo", 201, {"messageId": "<1@smtp-relay.mailin.fr>"}, GOOD),
    Single("brevo", 200, {"messageId": "<1@smtp-relay.mailin.fr>"}, "unknown protocol status"),
    Single("brevo", 402, {"code": "not_enough_credits", "message": "x"}, NO),
    Single("smtpcom", 200, {"status": "success", "data": {"msg_id": 17}}, GOOD),
    Single("smtpcom", 200, {"status": "fail", "data": {"errors": {"to": "x"}}}, "unknown protocol body"),
    Single("smtpcom", 504, b"<html>", "unknown server"),
    Single("mailtrap", 200, {"success": True, "message_ids": [ID]}, GOOD),
    Single("mailtrap", 200, {"success": False, "errors": ["'to' address is required"]}, NO),
    Single("mailtrap", 403, {"errors": ["not allowed"]}, AUTH),
]  # fmt: skip


def said(status: int, body: object, headers: Headers = ()) -> Response:
    return Response(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize("case", SINGLES, ids=lambda case: f"{case.provider}-{case.status}-{case.meaning}")
def test_one_message(case: Single) -> None:
    judged = PROVIDERS[case.provider].judge(said(case.status, case.body, case.headers))
    meaning = " ".join(filter(None, (judged.outcome, judged.error, judged.anomaly)))
    assert meaning == case.meaning


BATCHES: list[tuple[str, int, object, list[str]]] = [
    ("postmark", 200, [{"ErrorCode": 0, "MessageID": ID}, postmark(406, "inactive")], [GOOD, NO]),
    ("postmark", 200, [{"ErrorCode": 0, "MessageID": ID}], [f"{OPEN} body"] * 2),
    ("postmark", 422, postmark(410, "Too many batch messages"), [NO, NO]),
    ("mailjet", 200, mailjet(MAILJET_GOOD, MAILJET_BAD), [GOOD, NO]),
    ("mailjet", 400, mailjet(MAILJET_GOOD, MAILJET_BAD), [GOOD, NO]),
    (
        "mailtrap",
        200,
        {
            "success": True,
            "responses": [{"success": False, "errors": ["x"]}, {"success": True, "message_ids": [ID]}],
        },
        [NO, GOOD],
    ),
    ("mailtrap", 200, {"success": False, "errors": ["base is wrong"]}, [NO, NO]),
    (
        "ses",
        200,
        {
            "BulkEmailEntryResults": [
                {"Status": "SUCCESS", "MessageId": "0100-x"},
                {"Status": "ACCOUNT_THROTTLED", "Error": "x"},
            ]
        },
        [GOOD, LATER],
    ),
    (
        "ses",
        200,
        {
            "BulkEmailEntryResults": [
                {"Status": "TRANSIENT_FAILURE"}, {"Status": "something new"},
            ]
        },
        ["rejected_temp unavailable", f"{OPEN} body"],
    ),
    ("resend", 200, {"data": [{"id": ID}, {"id": ID}]}, [GOOD, GOOD]),
    ("resend", 422, {"statusCode": 422, "name": "validation_error", "message": "x"}, [NO, NO]),
    ("brevo", 201, {"messageIds": ["<1@x>", "<2@x>"]}, [GOOD, GOOD]),
    ("brevo", 201, {"messageIds": ["<1@x>", None]}, [GOOD, f"{OPEN} no_id"]),
    ("mailgun", 200, {"id": "<1@mg.example>", "message": "Queued."}, [GOOD, GOOD]),
    ("smtpcom", 200, {"status": "success", "data": {"msg_id": 17}}, [GOOD, GOOD]),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "status", "body", "meanings"), BATCHES)
def test_each_message_of_a_call(provider: str, status: int, body: object, meanings: list[str]) -> None:
    judged = PROVIDERS[provider].judge_batch(said(status, body), len(meanings))
    assert [" ".join(filter(None, (each.outcome, each.error, each.anomaly))) for each in judged] == meanings


def test_sandboxes_that_answer_otherwise() -> None:
    """SendGrid says 200 there, and only there; Mailjet has no ids there, and only there."""
    empty = said(200, b"")
    assert PROVIDERS["sendgrid"].judge(empty, sandbox=True).outcome == GOOD
    assert PROVIDERS["sendgrid"].judge(empty).outcome == "unknown"
    boxed = said(200, mailjet({"Status": "success", "To": [{"Email": "b@y", "MessageID": 0}]}))
    assert PROVIDERS["mailjet"].judge(boxed, sandbox=True).outcome == GOOD
    assert PROVIDERS["mailjet"].judge(boxed).outcome == "unknown"
