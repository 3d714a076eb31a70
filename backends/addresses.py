"""
Addresses and keys of other servers, as settings hold them: whole, and safe to show or to send.

An address holds no name and password, because titles and errors show it. A key is what a header
can carry: a line end in it would otherwise be found by the first request, in an error that quotes
the key.
"""

from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr, StringConstraints


def _check_address(address: str) -> str:
    parts = urlsplit(address)  # ValueError for half an IPv6 address; so does .port above 65535
    is_whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    is_whole = is_whole and not any(map(str.isspace, address))
    if not is_whole or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("an address is written like http://rerank:7860")
    return address.rstrip("/")


def _check_if_any(address: str) -> str:
    return _check_address(address) if address else ""


def _check_key(key: SecretStr) -> SecretStr:
    word = key.get_secret_value().strip()
    if not all("!" <= letter <= "~" for letter in word):
        raise ValueError("a key is one word of ASCII letters, digits and signs")
    return SecretStr(word)


Address: TypeAlias = Annotated[
    str, StringConstraints(strip_whitespace=True), AfterValidator(_check_address)
]
AddressOrNone: TypeAlias = Annotated[
    str, StringConstraints(strip_whitespace=True), AfterValidator(_check_if_any)
]
Key: TypeAlias = Annotated[SecretStr, AfterValidator(_check_key)]
