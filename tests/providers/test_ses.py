"""What SES alone has: a password derived for SMTP."""

from __future__ import annotations

from bench.model import Auth, Secret
from bench.providers import get_provider

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def test_the_smtp_password_of_the_worked_example() -> None:
    auth = get_provider("ses").configured("us-east-1", {}).smtp_auth(Auth(Secret("AKIA"), Secret(SECRET)))
    assert auth.user is not None
    assert auth.user.reveal() == "AKIA"
    assert auth.password.reveal() == "BLBM/9hSUELfq8Gw+rU1YcBjkOxGbhT2XG763xVLGWL9"


def test_another_region_has_another_password() -> None:
    given = Auth(Secret("AKIA"), Secret(SECRET))
    passwords = {
        get_provider("ses").configured(region, {}).smtp_auth(given).password.reveal()
        for region in ("us-east-1", "eu-west-1")
    }
    assert len(passwords) == 2
