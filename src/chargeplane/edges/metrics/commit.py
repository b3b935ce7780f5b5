"""What the group commit tells of its batches."""

from __future__ import annotations

from chargeplane.kernel.measures import SIZE_BOUNDS, Measures


class CommitMeasures:
    """Takes the figures of the group commit (the `CommitObserver` of store/commit).

    Args:
        measures: where they are kept.
    """

    def __init__(self, measures: Measures) -> None:
        self._size = measures.histogram(
            "chargeplane_commit_batch_messages", "Messages committed together.", bounds=SIZE_BOUNDS
        ).cell()
        self._delay = measures.histogram(
            "chargeplane_commit_seconds", "From the start of a commit to its answer."
        ).cell()
        self._failures = measures.counter(
            "chargeplane_commit_failures",
            "Batches that were not committed, by reason; they are tried again or split.",
            ("kind",),
        )

    def committed(self, works: int, seconds: float) -> None:
        """A batch was committed.

        Args:
            works: messages in it.
            seconds: from the start of the commit to its answer.
        """
        self._size.observe(works)
        self._delay.observe(seconds)

    def failed(self, kind: str) -> None:
        """A batch was not committed: `refused`, `fenced`, `overtaken`, `unavailable`."""
        self._failures.cell(kind)[0] += 1
