"""Upgrade of a cluster to a newer major version of PostgreSQL, with pg_upgrade, before the server starts.

The old folder is kept beside the new one under another name until the operator removes it, where the disk has room
for a second copy; otherwise the files are hard-linked, and the old folder serves no more once the new server ran.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from chargeplane.store.embedded.account import Account
from chargeplane.store.embedded.binaries import Programs, programs_for
from chargeplane.store.embedded.settings import ROLE

if TYPE_CHECKING:
    from chargeplane.store.embedded.cluster import Cluster, Progress


def upgrade(
    previous: Cluster, cluster: Cluster, fresh: Path, programs: Programs, account: Account, progress: Progress
) -> None:
    """Brings everything of an older cluster into a new one.

    Args:
        previous: the cluster to upgrade.
        cluster: the cluster to make.
        fresh: folder in which it grows; absent.
        programs: of the new version.
        account: who runs them.
        progress: hears each step.
    Raises:
        UnavailableError: a step failed (the old cluster is as it was), or there are no programs of the old version.
    """
    old = programs_for(account, previous.major, cluster.data_dir)
    previous.stop(progress)
    control = old.run("pg_controldata", str(previous.folder), account=account)
    if not re.search(r"^Database cluster state:\s+shut down$", control, re.MULTILINE):
        # A crash left work in the WAL; only the old version can finish it.
        progress(f"PostgreSQL {previous.major} was not stopped in order: recovering it before the upgrade.")
        previous.recover(old, account, progress)
    sums = re.search(r"^Data page checksum version:\s+(\d+)$", control, re.MULTILINE)
    progress(f"Upgrading the database from PostgreSQL {previous.major} to {programs.major}.")
    cluster.initdb(fresh, programs, account, checksums=sums is not None and sums[1] != "0")
    work = cluster.home / "upgrade"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    account.own(work)
    size = sum(file.stat().st_size for file in previous.folder.rglob("*") if file.is_file())
    room = shutil.disk_usage(cluster.home).free > size + size // 4 + (1 << 30)
    programs.run(
        "pg_upgrade",
        *("--old-bindir", str(old.folder / "bin"), "--new-bindir", str(programs.folder / "bin")),
        *("--old-datadir", str(previous.folder), "--new-datadir", str(fresh)),
        *("--socketdir", str(cluster.socket_dir(account)), "--username", ROLE),
        "--copy" if room else "--link",
        account=account,
        cwd=work,
        password=cluster.password(),
    )
    shutil.rmtree(work, ignore_errors=True)
    # In this order: with the new folder in place the old one is not looked at again.
    fresh.rename(cluster.folder)
    kept = previous.folder.rename(cluster.home / f"{previous.major}.before-{programs.major}")
    progress(f"Upgraded. The files of PostgreSQL {previous.major} are kept in {kept} and may be deleted.")
