"""The page for operators names every repair and quirk that can be counted."""

from __future__ import annotations

from pathlib import Path

from chargeplane.bridge import SENTENCES
from chargeplane.domain.quirks import built_in

PAGE = (Path(__file__).parents[2] / "docs" / "repairs.md").read_text(encoding="utf-8")


def test_the_page_says_what_every_repair_does() -> None:
    for rule, sentence in SENTENCES.items():
        assert f"| `{rule}` | {sentence} |" in PAGE


def test_the_page_lists_every_quirk() -> None:
    for quirk in built_in():
        assert f"| `{quirk.name}` | {quirk.does} | {quirk.source} |" in PAGE
