"""
Who may come in: local accounts and API keys, given and taken by people who are in; audited.

Nobody can hand out more than they hold: who makes an account or a key has every role and every
scope that it gets, and who ends one has every role that it had. Passwords and secrets are never
kept, shown again or written down.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backends.errors import BadInput, Conflict, Denied, NotFound
from backends.identity import Account, Accounts, Key, Keys, Principal, Role, read_roles
from backends.ops.changes import Change, Changes


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is asked for; None is no limit of its own, and no end."""

    name: str
    tenant: str
    scopes: tuple[str, ...]
    expires_days: float | None = None
    per_minute: int | None = None
    per_day: int | None = None

    def limits(self) -> dict[str, float | None]:
        return {name: getattr(self, name) for name in ("expires_days", "per_minute", "per_day")}


class Permits:
    """Every change needs the role operator; the callers have asked for it."""

    def __init__(self, accounts: Accounts, keys: Keys, changes: Changes) -> None:
        self._accounts = accounts
        self._keys = keys
        self._changes = changes
        self._one_at_a_time = asyncio.Lock()  # what is the last account is so until it is written

    def all_accounts(self) -> Sequence[Account]:
        """Every account, by name."""
        return sorted(self._accounts.all().values(), key=lambda account: account.name)

    def all_keys(self) -> Sequence[Key]:
        """Every key, the newest first; revoked and expired ones too."""
        return sorted(self._keys.all().values(), key=lambda key: (-key.created, key.id))

    async def add_account(
        self, name: str, password: str, roles: Iterable[str], who: Principal
    ) -> Account:
        """Raises BadInput with what to change, and Denied for a role that `who` lacks."""
        given = read_roles(roles) | {Role.VIEWER}
        _must_hold(who, given)
        self._accounts.check_new(name, password)
        if not self._accounts.all() and Role.OPERATOR not in given:
            raise _first_needs_operator()
        after = f"roles {', '.join(sorted(given))}"

        async def add() -> Account:
            async with self._one_at_a_time:
                return await asyncio.to_thread(self._accounts.add, name, password, given)

        return await self._changes.make(_change(who, f"accounts/{name}", "none", after), add)

    async def remove_account(self, name: str, who: Principal) -> None:
        """Its sessions end. Raises NotFound, Denied, and Conflict for one's own and the last."""
        account = self._accounts.all().get(name)
        if account is None:
            raise NotFound(f"There is no account called {name}.", zh=f"没有名为 {name} 的账号。")
        _must_hold(who, account.roles)
        if who.method == "account" and who.subject == name:
            raise _own_account()
        before = f"roles {', '.join(sorted(account.roles))}"

        async def remove() -> None:
            async with self._one_at_a_time:
                if set(self._accounts.all()) == {name}:
                    raise _last_account(name)
                await asyncio.to_thread(self._accounts.remove, name)

        await self._changes.make(_change(who, f"accounts/{name}", before, "removed"), remove)

    async def make_key(self, asked: NewKey, who: Principal) -> tuple[Key, str]:
        """
        The key and its secret, which nothing shows again. Raises BadInput with what to change,
        and Denied for a scope that `who` lacks.
        """
        scopes = self._keys.check_new(asked.name, asked.tenant, asked.scopes, asked.limits())
        _must_hold(who, _roles(scopes))
        _must_use(who, scopes)
        after = f"{asked.name}, tenant {asked.tenant}, scopes {', '.join(sorted(scopes))}"

        async def make() -> tuple[Key, str]:
            return await asyncio.to_thread(
                self._keys.make,
                asked.name,
                asked.tenant,
                scopes,
                asked.expires_days,
                asked.per_minute,
                asked.per_day,
            )

        return await self._changes.make(
            _change(who, "keys", "none", after), make, lambda made: f"done: key {made[0].id}"
        )

    async def revoke_key(self, id: str, who: Principal) -> Key:
        """It opens nothing from now on. Raises NotFound, and Denied for one above `who`."""
        key = self._keys.all().get(id)
        if key is None:
            raise NotFound(f"There is no key {id[:80]}.", zh="没有此密钥。")
        _must_hold(who, _roles(key.scopes))
        before = f"{key.name}, tenant {key.tenant}, scopes {', '.join(sorted(key.scopes))}"

        async def revoke() -> Key:
            return await asyncio.to_thread(self._keys.revoke, id)

        return await self._changes.make(_change(who, f"keys/{id}", before, "revoked"), revoke)


def _change(who: Principal, object: str, before: str, after: str) -> Change:
    return Change(who, Role.OPERATOR, object, before, after)


def _roles(scopes: Iterable[str]) -> list[Role]:
    """The roles of Admin that these scopes give."""
    prefix = "admin:"
    return [Role(each.removeprefix(prefix)) for each in scopes if each.startswith(prefix)]


def _must_hold(who: Principal, roles: Iterable[Role]) -> None:
    missing = ", ".join(sorted(role for role in roles if not who.may(role)))
    if missing:
        raise Denied(
            f"You lack the role {missing}; nobody gives or takes what they do not hold.",
            zh=f"您没有 {missing} 角色；不能授予或收回自己没有的角色。",
        )


def _must_use(who: Principal, scopes: Iterable[str]) -> None:
    families = [each for each in scopes if ":" not in each]
    missing = ", ".join(sorted(each for each in families if not who.may_use(each)))
    if missing:
        raise Denied(
            f"Your key lacks the scope {missing}; nobody gives what they do not hold.",
            zh=f"您的密钥没有 {missing} 权限范围；不能授予自己没有的权限。",
        )


def _first_needs_operator() -> BadInput:
    return BadInput(
        "Give the first account the role operator: the one-time token ends with it, and only an "
        "operator makes accounts here.",
        zh="请为第一个账号授予 operator 角色：之后一次性令牌即失效，只有 operator 能在此创建账号。",
        field="roles",
    )


def _own_account() -> Conflict:
    return Conflict(
        "This is the account that you are signed in with; ask another operator.",
        zh="这是您当前登录的账号，请由其他 operator 移除。",
    )


def _last_account(name: str) -> Conflict:
    return Conflict(
        f"{name} is the last account; without any, the one-time token would be back. Add another "
        "first.",
        zh=f"{name} 是最后一个账号；没有账号时一次性令牌会恢复。请先添加另一个账号。",
    )
