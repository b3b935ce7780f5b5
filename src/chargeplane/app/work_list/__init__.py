"""The work list: what needs a person, most at risk first."""

from chargeplane.app.work_list.finder import Finder
from chargeplane.app.work_list.work_list import WorkList

__all__ = ["Finder", "WorkList"]
