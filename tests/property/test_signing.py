"""What is worked out once for a key gives the signatures of the standard library."""

from __future__ import annotations

import hmac

from hypothesis import given
from hypothesis import strategies as st

from marketmaker.adapters.signing import SigningKey

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(secret=texts, digestmod=st.sampled_from(["sha256", "sha512"]), lead=texts, text=texts)
def test_a_signature_is_that_of_the_standard_library(
    secret: str, digestmod: str, lead: str, text: str
) -> None:
    key = SigningKey(secret, digestmod=digestmod, lead=lead)
    for _ in range(2):
        assert key.sign(text) == hmac.digest(secret.encode(), (lead + text).encode(), digestmod)
    assert repr(key) == "SigningKey(***)"
