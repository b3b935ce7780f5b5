"""Where stations find the files' doors."""

from __future__ import annotations

import pytest

from chargeplane.app.addresses import FileAddresses, Transfer


@pytest.mark.parametrize(
    ("public_url", "tls_host", "http", "https"),
    [
        (None, None, "http://10.0.0.7:8080", "https://10.0.0.7:8443"),
        (None, "csms.example.com", "http://10.0.0.7:8080", "https://csms.example.com:8443"),
        (None, "fd00::7", "http://10.0.0.7:8080", "https://[fd00::7]:8443"),
        (
            "https://files.example.com/",
            "csms.example.com",
            "http://files.example.com:8080",
            "https://files.example.com",
        ),
    ],
)
def test_by_https_it_is_the_name_that_the_certificate_has(
    public_url: str | None, tls_host: str | None, http: str, https: str
) -> None:
    addresses = FileAddresses(public_url=public_url, host="10.0.0.7", http_port=8080, tls_host=tls_host)
    addresses.https_port = 8443
    assert addresses.base(Transfer.HTTP) == http
    assert addresses.base(Transfer.HTTPS) == https
