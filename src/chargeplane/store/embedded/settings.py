"""Settings of the embedded server, written to `chargeplane.conf` in its data folder at each start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

ROLE: Final = "chargeplane"
"""The only role of an embedded cluster."""

DATABASE: Final = "chargeplane"
"""The database the server uses."""

DURABLE: Final = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
"""What "durable before acknowledged" rests on; tests assert it with SHOW."""

_MIB: Final = 1024 * 1024


def server_settings(
    *, socket_dir: Path, log_dir: Path, lz4: bool, extra: Mapping[str, str], memory: int | None = None
) -> dict[str, str]:
    """All settings that differ from PostgreSQL's defaults.

    Args:
        socket_dir: private folder of the Unix socket, the only way in.
        log_dir: folder of the server's log files.
        lz4: whether the programs can compress WAL with lz4.
        extra: overrides, last word.
        memory: bytes of the machine; default as measured.
    """
    memory = memory or int(psutil.virtual_memory().total)
    # PostgreSQL shares the machine with the server: a share of memory, not the quarter that a dedicated host gives.
    buffers = min(max(memory // 16 // _MIB, 128), 256)
    return {
        **DURABLE,
        "listen_addresses": "",
        "unix_socket_directories": str(socket_dir),
        "unix_socket_permissions": "0700",
        "port": "5432",
        "max_connections": "60",
        "shared_buffers": f"{buffers}MB",
        "effective_cache_size": f"{max(memory // 2 // _MIB, 256)}MB",
        "work_mem": "8MB",
        "maintenance_work_mem": "64MB",
        # Few checkpoints: each makes the next write of every page a full page image in the WAL.
        "max_wal_size": "4GB" if memory > 8 << 30 else "2GB",
        "min_wal_size": "512MB",
        "checkpoint_timeout": "15min",
        # A new WAL segment is not filled with zeros first: that stopped every commit of a young cluster for tens of
        # milliseconds each 16 MB. What is committed is synced all the same.
        "wal_init_zero": "off",
        "wal_buffers": "16MB",
        "wal_compression": "lz4" if lz4 else "off",
        "jit": "off",
        # Never a standby: "ready" means that recovery is over and writes are taken.
        "hot_standby": "off",
        # Other cores belong to the stations' event loop; no query of ours needs helpers.
        "max_parallel_workers_per_gather": "0",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "on",
        "log_directory": str(log_dir),
        "log_filename": "postgresql-%Y%m%d-%H%M%S.log",
        "log_rotation_age": "1d",
        "log_rotation_size": "10MB",
        "log_file_mode": "0600",
        "log_line_prefix": "%m [%p] %a ",
        "log_lock_waits": "on",
        **extra,
    }


def as_configuration(settings: Mapping[str, str], head: str) -> str:
    """The settings as text of a PostgreSQL configuration file.

    Args:
        head: one line for the comment at the top; a change in it makes a running server count as outdated.
    """
    lines = [f"# {head}", "# Written by Chargeplane at each start; changes here are lost."]
    lines += [f"{name} = '{_quoted(value)}'" for name, value in settings.items()]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")
