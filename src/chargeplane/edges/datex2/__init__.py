"""DATEX II 3.7: locations, prices and status as national access points take them (AFIR, Regulation (EU) 2023/1804, Article 20)."""

from chargeplane.edges.datex2.publication import Publications

__all__ = ["Publications"]
