"""What an id token is answered with, of what the operator set and what agreements hold it to: the narrower of both.

SQL over the columns of `id_token`.
"""

from __future__ import annotations

from typing import Final

EFFECTIVE_STATUS: Final = "CASE WHEN status = 'Accepted' THEN coalesce(held_status, status) ELSE status END"
EFFECTIVE_CONCURRENT: Final = "least(concurrent_limit, held_concurrent)"
EFFECTIVE_CREDIT_WH: Final = "least(credit_wh, held_wh)"
