"""Which account runs PostgreSQL: our own, or an unprivileged one where we are root (PostgreSQL refuses root)."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from chargeplane.kernel.errors import RuleError

CANDIDATES: Final = ("chargeplane", "postgres", "nobody")
"""Accounts looked for, in this order, when started as root and none is named."""


class Account(Struct, frozen=True, kw_only=True):
    """A user and group PostgreSQL's processes run as.

    Args:
        uid, gid: numeric ids.
        name: for messages.
        foreign: whether it is another account than this process has (we are root and drop to it).
    """

    uid: int
    gid: int
    name: str
    foreign: bool

    def __str__(self) -> str:
        return f"user {self.name} (uid {self.uid})"

    def popen_arguments(self) -> dict[str, Any]:
        """Arguments of subprocess.Popen that start a program as this account, with no group of ours."""
        if not self.foreign:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def check_named(self) -> None:
        """initdb asks for the name of its account, and knows it from the system's user database alone.

        Raises:
            RuleError: there is none, as in containers that are started with a number for a user.
        """
        try:
            pwd.getpwuid(self.uid)
        except KeyError:
            line = f"chargeplane:x:{self.uid}:{self.gid}::/nonexistent:/usr/sbin/nologin"
            raise RuleError(
                f"This process has uid {self.uid}, which has no name on this system (no line in /etc/passwd), and a new "
                f"PostgreSQL cluster cannot be made without one. Add the line '{line}' to /etc/passwd of the machine or "
                f"image, start the server as a user that has a name, or set CHARGEPLANE_DATABASE_URL."
            ) from None

    def own(self, path: Path) -> None:
        """Gives one file or folder to the account."""
        if self.foreign:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def account_for(folder: Path, name: str | None = None) -> Account:
    """The account that runs PostgreSQL on a folder.

    Args:
        folder: PostgreSQL's folder; where it exists, its owner is kept, whatever accounts exist by now.
        name: account to use when started as root and the folder is new; default the first of CANDIDATES that exists.
    Raises:
        RuleError: the folder belongs to someone we cannot act for, or there is no unprivileged account.
    """
    uid = os.geteuid()
    owner = folder.stat() if folder.exists() else None
    if uid != 0:
        if owner is not None and owner.st_uid != uid:
            raise RuleError(
                f"{folder} belongs to {_name_of(owner.st_uid)}, and this is {_name_of(uid)}: start the server as "
                f"root or as that user, or choose another data folder (CHARGEPLANE_DATA_DIR)."
            )
        return Account(uid=uid, gid=os.getegid(), name=_name_of(uid), foreign=False)
    if owner is not None and owner.st_uid != 0:
        return Account(uid=owner.st_uid, gid=owner.st_gid, name=_name_of(owner.st_uid), foreign=True)
    for candidate in (name,) if name else CANDIDATES:
        try:
            entry = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(uid=entry.pw_uid, gid=entry.pw_gid, name=candidate, foreign=True)
    raise RuleError(
        f"PostgreSQL does not run as root, and there is no account named {' or '.join((name,) if name else CANDIDATES)}"
        ": create one (useradd --system chargeplane), start the server as an ordinary user, or set "
        "CHARGEPLANE_DATABASE_URL."
    )


def closed_folder(path: Path, account: Account) -> Path | None:
    """The first folder on the way to `path` (included) that the account may not pass through, or None.

    We change the mode of no folder that we did not make; the caller turns this into an error that says what to do.
    """
    for folder in (*reversed(path.parents), path):
        try:
            info = folder.stat()
        except FileNotFoundError:
            return None
        if info.st_uid == account.uid:
            bit = stat.S_IXUSR
        elif info.st_gid == account.gid:
            bit = stat.S_IXGRP
        else:
            bit = stat.S_IXOTH
        if not info.st_mode & bit:
            return folder
    return None


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
