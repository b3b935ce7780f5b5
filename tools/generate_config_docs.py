"""Writes docs/configuration.md from the structs in chargeplane.main.config; `--check` only says whether it is up to date."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any, get_type_hints

from chargeplane.main import config

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
HEAD = """# Configuration

<!-- Made by tools/generate_config_docs.py (`make docs`) from src/chargeplane/main/config.py; change that. -->

Everything has a default that works. A value comes from its environment variable, else from the TOML file that
`chargeplane serve --config FILE` or `CHARGEPLANE_CONFIG` names, else from the default. A variable that is set to nothing
counts as not set. Units are in the names: `_s` seconds, `_bytes` bytes, `_days` days.

```toml
http_port = 8080

[ocpp]
heartbeat_interval_s = 600
```
"""


def shown(value: Any) -> str:
    """A default as one would write it in TOML."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{value}`"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    hints = get_type_hints(config.Config)
    for group, members in itertools.groupby(config.known_keys(), key=lambda key: key.group):
        if group:
            parts.append(f"## `[{group}]`\n\n{hints[group].__doc__.strip()}\n")
        else:
            parts.append("## Top level\n")
        for key in members:
            secret = " Secret." if key.secret else ""
            default = key.default_text or shown(key.default)
            parts.append(
                f"**`{key.name}`** (`{key.variable}`): {key.description}{secret}\n"
                f"Allowed: {key.allowed}. Default: {default}.\n"
            )
    return "\n".join(parts)


def main() -> int:
    """Writes the page, or with `--check` returns 1 where it differs."""
    if "--check" in sys.argv:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
            return 0
        print(f"{PAGE} is not what the structs say: run `make docs`")
        return 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
