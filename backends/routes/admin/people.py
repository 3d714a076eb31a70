"""Accounts: who may sign in. What may be given and taken is decided in `ops.access`."""

from starlette.requests import Request
from starlette.responses import Response

from backends import identity
from backends.identity import Role
from backends.portal import Portal
from backends.routes.admin import shapes
from backends.routes.admin.desk import allow, answer, read


class People:
    def __init__(self, portal: Portal) -> None:
        self._access = portal.access

    async def accounts(self, request: Request) -> Response:
        """Who may sign in, with which roles."""
        allow(request, Role.VIEWER)
        return answer(shapes.Accounts(accounts=[_account(a) for a in self._access.accounts()]))

    async def add_account(self, request: Request) -> Response:
        """Make an account, with no role that the caller lacks."""
        who = allow(request, Role.OPERATOR)
        asked = await read(request, shapes.AccountRequest)
        made = await self._access.add_account(asked.name, asked.password, asked.roles, who)
        return answer(_account(made), 201)

    async def remove_account(self, request: Request, name: str) -> Response:
        """Remove an account that has no role the caller lacks. Its sessions end."""
        who = allow(request, Role.OPERATOR)
        await self._access.remove_account(name, who)
        return Response(status_code=204)


def _account(account: identity.Account) -> shapes.Account:
    return shapes.Account(name=account.name, roles=sorted(account.roles))
