"""Accounts for annotators, made by invitation: `earmark campaign invite`.

For the command line: `invite(emails, url, token, passwords)` where url and token come from `--url` and `--token-file`, or from
`pipelines.studio.server.address(data)` for `--data DIR`; `passwords` is a file, by default `annotators.tsv` in the data folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.studio.session import Session, SessionError

ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


@dataclass(frozen=True)
class Account:
    """An annotator's account. password: empty where it is not known here. new: made just now."""

    email: str
    password: str = field(repr=False)
    new: bool


def invite(emails: Sequence[str], url: str, token: str, passwords: Path) -> list[Account]:
    """Make an account for everybody who has none.

    A password is written down before its account is made, so that no account is without one: the same command goes on where it stopped.

    Args:
        emails: addresses; upper and lower case are the same.
        token: an account's that may invite, as the one in the data folder's `token`.
        passwords: a file of mode 600, one line for each account: address, tab, password.
    Raises:
        ValueError: not an address.
        SessionError: the server is away, refuses the token or an address.
    """
    asked = list(dict.fromkeys(email.strip().lower() for email in emails))
    for email in asked:
        if not ADDRESS.fullmatch(email):
            raise ValueError(f"{email!r} is not an e-mail address")
    lead = Session(url, token)
    with open(os.open(passwords, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.fchmod(file.fileno(), 0o600)
        file.seek(0)
        lines = file.read().splitlines(keepends=True)
        known = dict(line.rstrip("\n").split("\t") for line in lines if line.count("\t") == 1 and line.endswith("\n"))
        if lines and not lines[-1].endswith("\n"):
            file.write("\n")  # a line that was being written when somebody pulled the plug; its account was not made yet
        there = _members(lead)
        accounts = []
        for email in asked:
            new = email not in there
            if new:
                if email not in known:
                    known[email] = secrets.token_urlsafe(12)
                    file.write(f"{email}\t{known[email]}\n")
                    file.flush()
                    os.fsync(file.fileno())
                _sign_up(lead, url, email, known[email])
            accounts.append(Account(email, known.get(email, ""), new))
    return accounts


def _sign_up(lead: Session, url: str, email: str, password: str) -> None:
    page = lead.get("/api/invite", {"invite_url": str})["invite_url"]
    if not Session(url).submit(page, email=email, password=password) and email not in _members(lead):
        raise SessionError(f"{url}: no account for {email}; Label Studio refused the address")


def _members(lead: Session) -> set[str]:
    return {(user["email"] or "").lower() for user in lead.get("/api/users/", [{"email": (str, None)}])}
