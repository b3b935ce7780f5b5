"""The pages that are made from code."""

from __future__ import annotations

from chargeplane.main.config import known_keys
from tools.generate_config_docs import PAGE, page


def test_the_configuration_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_key_and_variable_stands_on_the_configuration_page() -> None:
    text = page()
    assert [key.path for key in known_keys() if f"**`{key.name}`** (`{key.variable}`)" not in text] == []
