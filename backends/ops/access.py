"""
Who may come in: local accounts, added and removed by people who are in; audited.

Nobody can hand out more than they hold: who makes an account has every role that it gets, and
who removes one has every role that it had. Passwords are never kept, shown or written down.
"""

import asyncio
from collections.abc import Iterable, Sequence

from backends.errors import BadInput, Conflict, Denied, NotFound
from backends.identity import Account, Accounts, Principal, Role, read_roles
from backends.ops.changes import Change, Changes


class Access:
    """Every change needs the role operator; the callers have asked for it."""

    def __init__(self, accounts: Accounts, changes: Changes) -> None:
        self._accounts = accounts
        self._changes = changes
        self._one_at_a_time = asyncio.Lock()  # a change reads the whole file and replaces it

    def accounts(self) -> Sequence[Account]:
        """Every account, by name."""
        return sorted(self._accounts.all().values(), key=lambda account: account.name)

    async def add_account(
        self, name: str, password: str, roles: Iterable[str], who: Principal
    ) -> Account:
        """Raises BadInput with what to change, and Denied for a role that `who` lacks."""
        given = read_roles(roles) | {Role.VIEWER}
        _must_hold(who, given)
        change = Change(
            who, Role.OPERATOR, f"accounts/{name}", "none", f"roles {', '.join(sorted(given))}"
        )

        async def add() -> Account:
            async with self._one_at_a_time:
                if not self._accounts.all() and Role.OPERATOR not in given:
                    raise _first_needs_operator()
                return await asyncio.to_thread(self._accounts.add, name, password, given)

        return await self._changes.make(change, add)

    async def remove_account(self, name: str, who: Principal) -> None:
        """Its sessions end. Raises NotFound, Denied, and Conflict for one's own and the last."""
        account = self._accounts.all().get(name)
        if account is None:
            raise NotFound(f"There is no account called {name}.", zh=f"没有名为 {name} 的账号。")
        _must_hold(who, account.roles)
        had = f"roles {', '.join(sorted(account.roles))}"
        change = Change(who, Role.OPERATOR, f"accounts/{name}", had, "removed")

        async def remove() -> None:
            async with self._one_at_a_time:
                self._must_be_spare(name, who)
                await asyncio.to_thread(self._accounts.remove, name)

        await self._changes.make(change, remove)

    def _must_be_spare(self, name: str, who: Principal) -> None:
        if who.method == "account" and who.subject == name:
            raise Conflict(
                "This is the account that you are signed in with; ask another operator.",
                zh="这是您当前登录的账号，请由其他 operator 移除。",
            )
        if set(self._accounts.all()) == {name}:
            raise Conflict(
                f"{name} is the last account; without any, the one-time token would be back. "
                "Add another first.",
                zh=f"{name} 是最后一个账号；没有账号时一次性令牌会恢复。请先添加另一个账号。",
            )


def _must_hold(who: Principal, roles: Iterable[Role]) -> None:
    missing = sorted(role for role in roles if not who.may(role))
    if missing:
        listed = ", ".join(missing)
        raise Denied(
            f"You lack the role {listed}; nobody hands out or takes away what they do not hold.",
            zh=f"您没有 {listed} 角色；不能授予或收回自己没有的角色。",
        )


def _first_needs_operator() -> BadInput:
    return BadInput(
        "Give the first account the role operator: the one-time token ends with it, and only an "
        "operator makes accounts here.",
        zh="请为第一个账号授予 operator 角色：之后一次性令牌即失效，只有 operator 能在此创建账号。",
        field="roles",
    )
