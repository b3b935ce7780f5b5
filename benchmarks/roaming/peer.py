"""`extrawest-ocpi` under uvicorn as CPO and eMSP in 2.2.1, to compare with.

    python peer.py PORT TOKEN LOCATIONS

The package is the server; storing it leaves to a `Crud`, which is here and is the quickest there is: a list in memory, and a dict by id. Nothing
is durable. Its packages are its own (requirements/peers.txt).
"""

import os
import sys
from pathlib import Path

PORT, TOKEN, COUNT = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
os.environ.update(OCPI_HOST=f"127.0.0.1:{PORT}", PROTOCOL="http", COUNTRY_CODE="NL", PARTY_ID="EXW")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import documents  # noqa: E402
import uvicorn  # noqa: E402
from py_ocpi import get_application  # noqa: E402
from py_ocpi.core.adapter import BaseAdapter  # noqa: E402
from py_ocpi.core.authentication.authenticator import Authenticator  # noqa: E402
from py_ocpi.core.config import logger  # noqa: E402
from py_ocpi.core.crud import Crud  # noqa: E402
from py_ocpi.core.enums import ModuleID, RoleEnum  # noqa: E402
from py_ocpi.modules.versions.enums import VersionNumber  # noqa: E402

logger.setLevel("WARNING")  # it tells of every request else
listed = [documents.location(number) for number in range(COUNT)]
by_id = {one["id"].lower(): one for one in listed}


class Books(Crud):
    """What the package calls."""

    @classmethod
    async def get(cls, module, role, id, *args, **kwargs):
        return by_id.get(str(id).lower())

    @classmethod
    async def list(cls, module, role, filters, *args, **kwargs):
        offset = filters["offset"]
        part = listed[offset : offset + filters["limit"]]
        return part, len(listed), offset + len(part) >= len(listed)

    @classmethod
    async def update(cls, module, role, data, id, *args, **kwargs):
        by_id[str(id).lower()] = data
        return data


class Tokens(Authenticator):
    """Who may come in."""

    @classmethod
    async def get_valid_token_c(cls):
        return [TOKEN]

    @classmethod
    async def get_valid_token_a(cls):
        return []


app = get_application(
    version_numbers=[VersionNumber.v_2_2_1],
    roles=[RoleEnum.cpo, RoleEnum.emsp],
    crud=Books,
    modules=[ModuleID.locations],
    authenticator=Tokens,
    adapter=BaseAdapter,
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", access_log=False)
