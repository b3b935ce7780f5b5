"""docs/agreements.md: the life of an agreement is made of the calls that stand there, and each is answered as it says."""

from __future__ import annotations

from chargeplane.app.agreements.facts import NOUNS
from chargeplane.domain.agreements.states import Action
from tests.support.pages import DOCS, Reader
from tests.support.rest import Rest

PAGE = DOCS / "agreements.md"


async def test_the_life_of_one_is_as_the_page_shows_it(rest: Rest) -> None:
    reader = Reader(rest.client)
    assert await reader.read(PAGE.read_text()) == PAGE.read_text().count("```http")
    lived = [answer["status"] for answer in reader.answers if isinstance(answer.get("status"), str)]
    for state in ("draft", "proposed", "accepted", "active", "suspended", "active", "ending", "ended", "closed"):
        lived = lived[lived.index(state) :]


def test_the_page_names_every_action_and_every_fact() -> None:
    text = PAGE.read_text()
    assert [action for action in Action if f"`{action.value}`" not in text] == []
    assert [noun for noun in NOUNS if f"`{noun}`" not in text and f"`agreement.{noun}`" not in text] == []
