"""Service agreements: the contract between a provider and a consumer of charging. Its terms, its states, its clock, and which one applies.

items.py    what is agreed on: tariffs, fees, discounts, ... each a typed struct
model.py    parties, scope, terms, versions, the agreement
states.py   the transition table and what each action does
clock.py    what time does to an agreement; a read is always as of a moment
checks.py   what terms must fulfil, a sentence per wrong field
scope.py    whom and where terms cover, and how specifically
resolve.py  which agreement applies to somebody somewhere, and why not the others; ties
holds.py    what an id token of agreements is held to
"""
