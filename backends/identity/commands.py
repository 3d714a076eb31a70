"""Accounts and API keys at a terminal, made and ended. A running portal sees it at once."""

import argparse
import getpass
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backends.identity.accounts import Accounts
from backends.identity.keys import SCOPES, Key, Keys
from backends.identity.principals import Role


def add_account_commands(commands: Any) -> None:
    """`commands` is what `add_subparsers` gave."""
    account = commands.add_parser("account", help="local accounts for Admin")
    actions = account.add_subparsers(dest="action", required=True)
    actions.add_parser("remove").add_argument("name")
    add = actions.add_parser("add")
    add.add_argument("name")
    add.add_argument(
        "--role", action="append", choices=[role.value for role in Role], required=True
    )


def run_account_command(asked: argparse.Namespace, state_dir: Path) -> None:
    """Says on standard output what was done. Raises BadInput or NotFound."""
    accounts = Accounts(state_dir / "accounts.json")
    if asked.action == "add":
        account = accounts.add(asked.name, _password(asked.name), asked.role)
        print(f"{account.name} may sign in as {', '.join(sorted(account.roles))}.")
    else:
        accounts.remove(asked.name)
        print(f"{asked.name} may no longer sign in; what they had open has ended.")


def _password(name: str) -> str:
    """Asked for at a terminal, twice; one line of standard input otherwise."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass(f"Password for {name}: ")
    if password != getpass.getpass("Again: "):
        raise SystemExit("The two passwords differ; nothing was changed.")
    return password


def add_key_commands(commands: Any) -> None:
    """`commands` is what `add_subparsers` gave."""
    key = commands.add_parser("key", help="API keys of programs")
    actions = key.add_subparsers(dest="action", required=True)
    actions.add_parser("list")
    actions.add_parser("revoke").add_argument("id")
    make = actions.add_parser("make")
    make.add_argument("name")
    make.add_argument("--tenant", required=True, help="whom it speaks for")
    make.add_argument("--scope", action="append", choices=SCOPES, required=True)
    make.add_argument("--expires-days", type=float, help="days until it ends; never by default")
    make.add_argument("--per-minute", type=int, help="requests a minute, instead of the setting")
    make.add_argument("--per-day", type=int, help="requests a day, instead of the setting")


def run_key_command(asked: argparse.Namespace, state_dir: Path) -> None:
    """Says on standard output what was done. Raises BadInput or NotFound."""
    keys = Keys(state_dir / "keys.json")
    if asked.action == "list":
        for key in keys.all().values():
            print(said(key, time.time()))
        return
    if asked.action == "revoke":
        print(f"{keys.revoke(asked.id).name} ({asked.id}) is refused from now on.")
        return
    limits = (asked.expires_days, asked.per_minute, asked.per_day)
    key, secret = keys.make(asked.name, asked.tenant, asked.scope, *limits)
    print(said(key, time.time()))
    print(f"This is the key; nothing can show it again:\n{secret}")


def said(key: Key, now: float) -> str:
    """One line: who, for whom, for what, how long."""
    parts = [
        key.id,
        key.state(now),
        key.name,
        f"tenant {key.tenant}",
        ", ".join(sorted(key.scopes)),
    ]
    parts.append(f"made {_day(key.created)}")
    parts += [f"until {_day(key.expires)}"] if key.expires is not None else []
    parts += [f"{key.per_minute} a minute"] if key.per_minute is not None else []
    parts += [f"{key.per_day} a day"] if key.per_day is not None else []
    return "  ".join(parts)


def _day(second: float) -> str:
    return datetime.fromtimestamp(second, UTC).date().isoformat()
