"""One PostgreSQL data folder and the postmaster on it. Blocking calls, for threads, the CLI and tests.

    <data folder>/            0711 where made by root, else 0700
      server.lock             held while a server owns the folder
      pgsql-18/               copy of the programs, only where the account cannot read the installed ones
      postgres/               0700, belongs to the account that runs PostgreSQL
        18/                   the cluster; one folder a major version
        password              of the only role, machine-made
        log/
        run/                  the Unix socket (in a folder under /tmp where this path is too long for a socket)

A postmaster outlives a killed server on purpose: its work in progress ends in order, and the next start adopts it.
`postmaster.pid` says what runs. Its pid is believed only if that process works in our folder: a pid written before a
reboot or in another container may be anybody's now, and PostgreSQL itself would refuse to start over it.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil
from msgspec import Struct

from chargeplane.kernel.errors import ConflictError, RuleError, UnavailableError
from chargeplane.store.embedded import upgrade
from chargeplane.store.embedded.account import Account, account_for, closed_folder
from chargeplane.store.embedded.binaries import MAJOR, Programs, programs_for
from chargeplane.store.embedded.settings import DATABASE, ROLE, as_configuration, server_settings

_SOCKET_LIMIT: Final = 107
_SOCKET_LOCK: Final = ".s.PGSQL.5432.lock"
_KEPT_LOGS: Final = 10
_POLL_S: Final = 0.02

Progress = Callable[[str], None]
"""Takes one sentence a person may read while waiting."""


def silent(_sentence: str) -> None:
    """Progress for nobody."""


class Postmaster(enum.Enum):
    """What postmaster.pid tells of a running postmaster."""

    STARTING = "starting"
    READY = "ready"
    STANDBY = "standby"
    STOPPING = "stopping"


class Running(Struct, frozen=True, kw_only=True):
    """A live postmaster on our folder.

    Args:
        pid: of the postmaster.
        state: as it says itself.
        socket_dir: folder of its Unix socket.
    """

    pid: int
    state: Postmaster
    socket_dir: str


class InterruptedStartError(UnavailableError):
    """Waiting for PostgreSQL was given up because this process stops."""


class Cluster:
    """A PostgreSQL cluster in a data folder.

    Args:
        data_dir: Chargeplane's data folder; made where absent.
        user: account PostgreSQL runs as when we are root; default see account.CANDIDATES.
        settings: overrides of server settings.
        major: PostgreSQL major version.
    """

    def __init__(
        self, data_dir: Path, *, user: str | None = None, settings: Mapping[str, str] | None = None, major: int = MAJOR
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.home = self.data_dir / "postgres"
        self.folder = self.home / str(major)
        self.major = major
        self.interrupt = threading.Event()
        """Set from another thread to give up waiting."""
        self._user = user
        self._settings = dict(settings or {})
        self._child: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    # The lock

    def lock(self) -> None:
        """Takes the data folder for this process, until `unlock` or the process's end.

        Raises:
            ConflictError: another server has it.
        """
        self._make_data_dir()
        fd = os.open(self.data_dir / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
            os.close(fd)
            raise ConflictError(
                f"Another server (pid {holder or 'unknown'}) runs on the data folder {self.data_dir}: stop it, or give "
                f"this one another folder (CHARGEPLANE_DATA_DIR)."
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock = fd

    def owner(self) -> str | None:
        """Pid, as text, of the server that owns the data folder now; None where none does."""
        try:
            fd = os.open(self.data_dir / "server.lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.pread(fd, 32, 0).decode(errors="replace").strip()
        finally:
            os.close(fd)
        return None

    def unlock(self) -> None:
        """Gives the data folder back; nothing where it was not taken."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # Start and stop

    def start(self, progress: Progress = silent) -> int:
        """Makes, upgrades, adopts or starts the cluster and waits, without a limit, until it takes connections.

        Args:
            progress: hears what is being waited for; about once a second during crash recovery.
        Returns:
            The postmaster's pid.
        Raises:
            ConflictError: another server owns the folder.
            RuleError: the folder cannot be used; the sentence says what to do.
            UnavailableError: PostgreSQL ended before it was ready; the sentence has the end of its log.
            InterruptedStartError: `interrupt` was set.
        """
        if self._lock is None:
            self.lock()
        account = account_for(self.home, self._user)
        self._check_way(account)
        self._make_home(account)
        programs = programs_for(account, self.major, self.data_dir)
        self._make_cluster(programs, account, progress)
        pid = self._adopt(programs, account, progress)
        if pid is None:
            self.configure(self.folder, programs, account)
            pid = self._launch(programs, account, progress)
        self._wait_ready(pid, progress)
        return pid

    def stop(self, progress: Progress = silent) -> None:
        """Fast shutdown: sessions end, the work is on disk. Nothing where no postmaster runs."""
        running = self.running()
        if running is None:
            return
        progress(f"Stopping PostgreSQL (pid {running.pid}).")
        self._signal(running.pid, signal.SIGINT)
        self.wait_gone(running.pid)

    def running(self) -> Running | None:
        """The live postmaster on our folder, whoever started it."""
        return running_in(self.folder)

    def alive(self, pid: int) -> bool:
        """Whether the postmaster is still there."""
        child = self._child
        if child is not None and child.pid == pid:
            return child.poll() is None
        return _works_in(pid, self.folder)

    def wait_gone(self, pid: int) -> None:
        """Waits until the postmaster has ended."""
        while self.alive(pid):
            time.sleep(_POLL_S)

    def url(self, database: str = DATABASE) -> str:
        """The address for asyncpg and PostgreSQL's programs; it holds the password.

        Raises:
            UnavailableError: PostgreSQL does not run.
        """
        running = self.running()
        if running is None:
            raise UnavailableError(f"The embedded PostgreSQL in {self.data_dir} is not running.")
        socket_dir = quote(running.socket_dir, safe="/")
        return f"postgresql://{ROLE}:{self.password()}@/{quote(database)}?host={socket_dir}&port=5432"

    def password(self) -> str:
        """The role's password."""
        return (self.home / "password").read_text().strip()

    # Folders

    def _make_data_dir(self) -> None:
        if self.data_dir.is_dir():
            return
        try:
            self.data_dir.mkdir(parents=True)
            # Root's PostgreSQL runs as another account, which must pass through; what is secret has its own mode.
            self.data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
        except OSError as error:
            raise RuleError(
                f"The data folder {self.data_dir} cannot be made: {error.strerror}. "
                f"Choose one with CHARGEPLANE_DATA_DIR."
            ) from error

    def _check_way(self, account: Account) -> None:
        closed = closed_folder(self.data_dir, account) if account.foreign else None
        if closed is not None:
            raise RuleError(
                f"PostgreSQL runs as {account}, which may not pass through {closed} to the data folder "
                f"{self.data_dir}. Choose a data folder outside of it (CHARGEPLANE_DATA_DIR, for root by default "
                f"/var/lib/chargeplane), allow the way (chmod o+x {closed}), or start the server as another user."
            )

    def _make_home(self, account: Account) -> None:
        for folder in (self.home, self.home / "log"):
            if not folder.is_dir():
                folder.mkdir(mode=0o700)
                account.own(folder)
        secret = self.home / "password"
        if not secret.exists() and not self.folder.exists():
            _write_private(secret, secrets.token_urlsafe(32) + "\n", account)

    def socket_dir(self, account: Account) -> Path:
        """Private folder for the Unix socket, short enough for one; made where absent."""
        near = self.home / "run"
        if len(os.fsencode(f"{near}/{_SOCKET_LOCK}")) <= _SOCKET_LIMIT:
            near.mkdir(mode=0o700, exist_ok=True)
            account.own(near)
            return near
        # A symbolic link remembers the folder, which a restart of the machine may have removed.
        link = self.home / "run-elsewhere"
        with contextlib.suppress(OSError):
            known = link.readlink()
            info = known.lstat()
            if known.is_dir() and not known.is_symlink() and info.st_uid == account.uid and not info.st_mode & 0o077:
                return known
        far = Path(tempfile.mkdtemp(prefix="chargeplane-", dir="/tmp"))
        account.own(far)
        link.unlink(missing_ok=True)
        link.symlink_to(far)
        return far

    # The cluster

    def _make_cluster(self, programs: Programs, account: Account, progress: Progress) -> None:
        if (self.folder / "PG_VERSION").exists():
            return
        others = sorted(int(p.parent.name) for p in self.home.glob("[0-9]*/PG_VERSION") if p.parent.name.isdigit())
        if others and others[-1] > self.major:
            raise RuleError(
                f"The data folder {self.data_dir} was written by PostgreSQL {others[-1]}, newer than the "
                f"{self.major} of this release: install the newer release of Chargeplane again."
            )
        fresh = self.home / f"{self.major}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        if others:
            previous = Cluster(self.data_dir, user=self._user, major=others[-1])
            previous.interrupt = self.interrupt
            upgrade.upgrade(previous, self, fresh, programs, account, progress)
        else:
            progress("Making a new database cluster.")
            self.initdb(fresh, programs, account)
            fresh.rename(self.folder)

    def initdb(self, folder: Path, programs: Programs, account: Account, *, checksums: bool = True) -> None:
        """Makes a cluster in a new folder: role and password ours, UTF-8, sorted by code point, never by the
        machine's C library (whose sort order changes under the indexes with a release of the system)."""
        account.check_named()
        folder.mkdir(mode=0o700)
        account.own(folder)
        arguments = ["-D", str(folder), "-U", ROLE, "-A", "scram-sha-256", "-E", "UTF8", "--no-instructions"]
        arguments += ["--pwfile", str(self.home / "password"), "--locale=C"]
        # The password is 256 random bits: stretching it would only slow every connection.
        arguments += ["-c", "scram_iterations=1"]
        if programs.major >= 17:
            arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if checksums:
            arguments.append("--data-checksums")
        elif programs.major >= 18:
            arguments.append("--no-data-checksums")
        if self._settings.get("fsync") == "off":
            arguments.append("--no-sync")
        programs.run("initdb", *arguments, account=account)
        with (folder / "postgresql.conf").open("a") as file:
            file.write("\ninclude 'chargeplane.conf'\n")
        self.configure(folder, programs, account)

    def configure(self, folder: Path, programs: Programs, account: Account) -> bool:
        """Writes chargeplane.conf into a cluster's folder.

        Returns:
            Whether it changed.
        """
        settings = server_settings(
            socket_dir=self.socket_dir(account),
            log_dir=self.home / "log",
            lz4=programs.built_with_lz4(),
            extra=self._settings,
        )
        text = as_configuration(settings, f"PostgreSQL {programs.version} in {programs.folder}")
        path = folder / "chargeplane.conf"
        if path.exists() and path.read_text() == text:
            return False
        _write_private(path, text, account)
        return True

    def recover(self, programs: Programs, account: Account, progress: Progress) -> None:
        """Starts PostgreSQL to finish what a crash left, and stops it in order."""
        self.configure(self.folder, programs, account)
        self._wait_ready(self._launch(programs, account, progress), progress)
        self.stop(progress)

    # The postmaster

    def _adopt(self, programs: Programs, account: Account, progress: Progress) -> int | None:
        running = self.running()
        if running is None:
            return None
        same = not self.configure(self.folder, programs, account)
        if same and running.state is not Postmaster.STOPPING:
            progress(f"Taking over the running PostgreSQL (pid {running.pid}).")
            return running.pid
        progress(f"Stopping the running PostgreSQL (pid {running.pid}), which was started with other settings.")
        self._signal(running.pid, signal.SIGINT)
        self.wait_gone(running.pid)
        return None

    def _launch(self, programs: Programs, account: Account, progress: Progress) -> int:
        progress(f"Starting PostgreSQL {programs.version}.")
        _remove_stale_pid(self.folder)
        _remove_stale_socket_lock(self.socket_dir(account))
        self.prune_logs()
        early = self.home / "log" / "startup.log"
        early.unlink(missing_ok=True)
        # "x": the account owns the folder, and root must not write through a link that somebody left there.
        with early.open("xb") as output:
            account.own(early)
            child = subprocess.Popen[bytes](
                [programs.path("postgres"), "-D", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=programs.environment(),
                start_new_session=True,  # a Ctrl-C at the terminal is for us; we stop it in order
                cwd="/",
                **account.popen_arguments(),
            )
        self._child = child
        return child.pid

    def _wait_ready(self, pid: int, progress: Progress) -> None:
        begun = told = time.monotonic()
        while True:
            running = self.running()
            if running is not None and running.pid == pid and running.state is Postmaster.READY:
                return
            if not self.alive(pid):
                raise UnavailableError(f"PostgreSQL did not start. The end of its log:\n{self.last_log_lines()}")
            if self.interrupt.is_set():
                raise InterruptedStartError("Waiting for PostgreSQL was given up: this server is stopping.")
            now = time.monotonic()
            if now - told >= 1:
                told = now
                doing = _startup_title(pid)
                progress(f"PostgreSQL is starting ({doing or 'recovering'}), {now - begun:.0f} s so far.")
            time.sleep(_POLL_S)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.alive(pid):
                os.kill(pid, number)

    # Logs

    def last_log_lines(self, count: int = 12) -> str:
        """The end of what PostgreSQL wrote last."""
        files = [file for file in (self.home / "log" / "startup.log", *self._log_files()[-1:]) if file.exists()]
        files.sort(key=lambda file: file.stat().st_mtime_ns)
        lines = [line for file in files for line in file.read_text(errors="replace").splitlines()]
        return "\n".join(lines[-count:])

    def prune_logs(self) -> None:
        """Removes all log files but the newest ten (10 MB each at most)."""
        for file in self._log_files()[:-_KEPT_LOGS]:
            file.unlink(missing_ok=True)

    def _log_files(self) -> list[Path]:
        return sorted((self.home / "log").glob("postgresql-*.log"))


def running_in(folder: Path) -> Running | None:
    """The live postmaster on a cluster's folder, or None where none runs or its pid file is stale."""
    try:
        lines = (folder / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    except PermissionError:
        raise RuleError(f"{folder} belongs to another user: run this as that user or as root.") from None
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    if not _works_in(pid, folder):
        return None
    words = [*(line.strip() for line in lines), *[""] * 8]
    state = next((s for s in Postmaster if s.value == words[7]), Postmaster.STARTING)
    return Running(pid=pid, state=state, socket_dir=words[4])


def _works_in(pid: int, folder: Path) -> bool:
    """Whether a process is a PostgreSQL process of this folder."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # The command line is readable to all; the working directory (for PostgreSQL its data folder) is not to a root
        # without CAP_SYS_PTRACE, as containers have it.
        command = process.cmdline()
        if len(command) >= 3 and command[1:3] == ["-D", str(folder)]:
            return True
        return os.path.realpath(process.cwd()) == os.path.realpath(folder)
    except psutil.Error:
        return False


def _remove_stale_pid(folder: Path) -> None:
    """Removes a pid file whose pid is somebody else's by now, for which PostgreSQL would refuse to start.

    Where nobody has that pid the file stays: PostgreSQL replaces it, and learns from it which shared memory to check.
    """
    with contextlib.suppress(FileNotFoundError, ValueError):
        pid = int((folder / "postmaster.pid").read_text().split("\n", 1)[0])
        if psutil.pid_exists(pid) and not _works_in(pid, folder):
            _end_orphans(folder)
            (folder / "postmaster.pid").unlink()
        elif not psutil.pid_exists(pid):
            _end_orphans(folder)


def _remove_stale_socket_lock(socket_dir: Path) -> None:
    """Removes the socket's lock that a killed postmaster left: PostgreSQL takes it for held as long as any process has
    that pid, also a dead one that nobody has collected. The folder is ours alone, and nothing runs on it by now."""
    for name in (_SOCKET_LOCK, _SOCKET_LOCK.removesuffix(".lock")):
        (socket_dir / name).unlink(missing_ok=True)


def _end_orphans(folder: Path) -> None:
    """Waits for the children of a dead postmaster: they end by themselves after their present query, or by SIGQUIT."""
    quit_at = time.monotonic() + 2
    while orphans := [pid for pid in psutil.pids() if _works_in(pid, folder)]:
        if time.monotonic() > quit_at:
            quit_at += 2
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT)
        time.sleep(_POLL_S)


def _startup_title(pid: int) -> str | None:
    """What the startup process says it does, such as `recovering 000000010000000000000003`."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children():
            title = " ".join(child.cmdline())
            if "startup" in title:
                return title.split("startup", 1)[1].strip() or None
    return None


def _write_private(path: Path, text: str, account: Account) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(fd)
    account.own(fresh)
    fresh.replace(path)
