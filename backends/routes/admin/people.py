"""Accounts and keys: who may come in. What may be given and taken is decided in `ops.permits`."""

import time

from starlette.requests import Request
from starlette.responses import Response

from backends import identity
from backends.identity import Role
from backends.ops.permits import NewKey
from backends.portal import Portal
from backends.routes.admin import shapes
from backends.routes.admin.desk import allow, answer, read


class People:
    def __init__(self, portal: Portal) -> None:
        self._permits = portal.permits

    async def accounts(self, request: Request) -> Response:
        """Who may sign in, with which roles."""
        allow(request, Role.VIEWER)
        return answer(shapes.Accounts(accounts=[_account(a) for a in self._permits.all_accounts()]))

    async def add_account(self, request: Request) -> Response:
        """Make an account, with no role that the caller lacks."""
        who = allow(request, Role.OPERATOR)
        asked = await read(request, shapes.AccountRequest)
        made = await self._permits.add_account(asked.name, asked.password, asked.roles, who)
        return answer(_account(made), 201)

    async def remove_account(self, request: Request, name: str) -> Response:
        """Remove an account that has no role the caller lacks. Its sessions end."""
        who = allow(request, Role.OPERATOR)
        await self._permits.remove_account(name, who)
        return Response(status_code=204)

    async def keys(self, request: Request) -> Response:
        """Every API key, the newest first, without its secret; revoked and expired ones too."""
        allow(request, Role.VIEWER)
        return answer(shapes.Keys(keys=[_key(key) for key in self._permits.all_keys()]))

    async def make_key(self, request: Request) -> Response:
        """Make a key with no scope that the caller lacks. Its secret is in this answer alone."""
        who = allow(request, Role.OPERATOR)
        asked = await read(request, shapes.KeyRequest)
        given = asked.model_dump() | {"scopes": tuple(asked.scopes)}
        key, secret = await self._permits.make_key(NewKey(**given), who)
        return answer(shapes.MadeKey(**_key(key).model_dump(), secret=secret), 201)

    async def revoke_key(self, request: Request, id: str) -> Response:
        """End a key that has no role the caller lacks. It opens nothing from now on."""
        who = allow(request, Role.OPERATOR)
        return answer(_key(await self._permits.revoke_key(id, who)))


def _account(account: identity.Account) -> shapes.Account:
    return shapes.Account(name=account.name, roles=sorted(account.roles))


def _key(key: identity.Key) -> shapes.Key:
    return shapes.Key(
        id=key.id,
        name=key.name,
        tenant=key.tenant,
        scopes=sorted(key.scopes),
        state=key.state(time.time()),
        created=key.created,
        expires=key.expires,
        revoked=key.revoked,
        per_minute=key.per_minute,
        per_day=key.per_day,
    )
