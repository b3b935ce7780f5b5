"""Checks that the locks pin by digest alone and that no file names a package index.

An address in a lock or script would send every installation to that one host, whatever mirror its machine is set up for.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

# Written in pieces, so that this file passes its own check.
HOSTS = ("pypi" + ".org", "python" + "hosted.org", "registry." + "npmjs", "registry." + "yarnpkg", "crates" + ".io")
OPTIONS = ("index" + "-url", "find" + "-links", "trusted" + "-host")
ALLOWED = {"--no-emit-index" + "-url"}
ADDRESS = re.compile("|".join(re.escape(word) for word in (*HOSTS, *OPTIONS)))
URL = re.compile(r"https?://|file://|^-[ief] ", re.MULTILINE)


def complaints(name: str, text: str) -> list[str]:
    """One sentence for every line of a file that names a package index, and for every address in a lock."""
    found = []
    lock = name.startswith("requirements/")
    for number, line in enumerate(text.splitlines(), 1):
        for word in ALLOWED:
            line = line.replace(word, "")
        if match := ADDRESS.search(line):
            found.append(f"{name}:{number} names a package index or how to reach one ({match.group()})")
        elif lock and URL.search(line):
            found.append(f"{name}:{number} a lock holds names, versions and digests only")
    if lock and not re.search(r"^[a-z0-9-]+==\S+.*\\\n    --hash=sha256:", text, re.MULTILINE):
        found.append(f"{name} pins nothing by digest")
    return found


def main() -> int:
    """Checks every file git knows; prints what is wrong and returns 1, or returns 0."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True)
    found = []
    for name in names.stdout.splitlines():
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        found += complaints(name, text)
    print("\n".join(found) or "no file names a package index")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
