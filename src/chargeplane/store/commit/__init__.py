"""Group commit: many stations' changes in one PostgreSQL transaction, answers released only after it.

How it works
------------
There is one writer a node and no timer. While a batch is being committed, whatever the stations' actors submit collects in
a queue; the next batch is what came in meanwhile, capped by rows and bytes. So an idle server commits a single message at
once, and a loaded one spreads the price of an fsync over as many messages as arrive during one.

A batch is ONE statement, one round trip: a chain of data-modifying CTEs, one for each table that the batch touches, each fed by
`unnest` of one array per column. Its first link is the fence,

    UPDATE node SET last_batch = $batch WHERE id = $node AND instance = $instance AND fence = $fence

and every other link writes only if that found its row. The row does three jobs:

- It fences. Another node that takes over one of our stations raises our fence in its own transaction. Row locks order the two:
  either our batch commits before the takeover loads the station's state, or the batch finds a higher fence and writes nothing; then
  we learn which stations we lost, drop them, and commit the rest.
- It tells what became of a batch whose COMMIT answer was lost with the connection: after reconnecting we raise our own fence (so that a
  copy of the statement that is still on its way to the old backend can never run) and read last_batch. Equal: it was committed.
- It stops a process that was presumed dead: a restart under the same node name changes `instance`.

A work may rest on premises: what the store held of an id token when it was decided. The statement reads those rows again, in its own
snapshot, and where one is no longer the same the batch writes nothing; the works that rest on it are given back to be decided
anew, the others commit. So actors may decide from memory: nothing that was changed before the batch was taken up goes unseen.

A batch that PostgreSQL refuses for its data is halved until the culprit stands alone. The culprit is given back to its owner
(which quarantines the message and answers it); its neighbours commit. Every other error (connection, disk full, shutdown) changes
nothing: the batch is kept and tried again until it is committed, and until then nobody gets an answer.
"""

from chargeplane.store.commit.committer import CommitLimits, CommitObserver, GroupCommitter, Premise, Work
from chargeplane.store.commit.node import Node, NodeReplacedError

__all__ = ["CommitLimits", "CommitObserver", "GroupCommitter", "Node", "NodeReplacedError", "Premise", "Work"]
