"""Whether a request that a cookie vouches for comes from our own page."""

from urllib.parse import urlsplit

from starlette.requests import Request

from backends.errors import Denied


def refuse_other_sites(request: Request) -> None:
    """
    Another site's page must not sign a visitor in or out, nor change anything in their name. A
    browser says where a request comes from, on plain HTTP by Origin alone; a program says nothing.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        own = site in ("same-origin", "none")
    else:
        own = origin is None or _host_of(origin) == request.headers.get("host", "")
    if not own:
        raise Denied(
            "This was sent by another site. Open Admin here and do it there.",
            zh="该请求来自其他网站。请打开本站的运维页面后再操作。",
        )


def _host_of(origin: str) -> str | None:
    """None where it is no address at all, which no page's is."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
