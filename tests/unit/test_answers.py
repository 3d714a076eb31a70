"""How errors are told: one shape, and what a dialect's clients look for beside it."""

import pytest

from backends.errors import BadInput, Conflict, Overloaded, SignInNeeded, TooLarge, Unavailable
from backends.routes.answers import SORRY, Wording, error_body, error_response

STRICT = Wording(also=("message",), statuses={BadInput: 400, TooLarge: 413})


@pytest.mark.parametrize(
    ("error", "plain", "told"),
    [
        (BadInput("x"), 422, 400),
        (TooLarge("x"), 422, 413),
        (Overloaded("x"), 429, 429),
        (Conflict("x"), 409, 409),
        (Unavailable("x"), 503, 503),
        (ZeroDivisionError("x"), 500, 500),
    ],
)
def test_a_wording_tells_other_statuses_for_the_errors_it_names_and_their_kinds(
    error: Exception, plain: int, told: int
) -> None:
    assert error_response(error, "r").status_code == plain
    assert error_response(error, "r", STRICT).status_code == told
    assert error_response(error, "r", Wording(statuses={BadInput: 400})).status_code == (
        400 if isinstance(error, BadInput) else plain
    )


def test_a_wording_repeats_the_sentence_where_a_client_looks_for_it() -> None:
    plain = error_body(BadInput("query is empty."), "r")
    assert plain == {"error": "query is empty.", "error_type": "BadInput", "request_id": "r"}
    assert error_body(BadInput("query is empty."), "r", STRICT) == {
        **plain,
        "message": "query is empty.",
    }


def test_a_bug_is_an_apology_in_every_wording() -> None:
    body = error_body(ZeroDivisionError("secret"), "r", STRICT)
    assert body["error"] == body["message"] == SORRY
    assert body["error_type"] == "InternalError"


def test_a_status_that_is_told_otherwise_keeps_its_headers_honest() -> None:
    assert error_response(SignInNeeded("x"), "r").headers["www-authenticate"] == "Bearer"
    told = error_response(SignInNeeded("x"), "r", Wording(statuses={SignInNeeded: 403}))
    assert "www-authenticate" not in told.headers
    assert (
        error_response(Overloaded("x", retry_after=0.2), "r", STRICT).headers["retry-after"] == "1"
    )
