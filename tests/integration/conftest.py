"""One service of two workers for all tests of this folder that need nothing special."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.running import Client, Running, running

MAX_BODY_BYTES = 1_000_000


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = {"max_body_bytes": MAX_BODY_BYTES, "body_timeout_s": 1, "max_images": 8}
    with running(tmp_path_factory.mktemp("data"), workers=2, **limits) as service:
        yield service
        assert service.stop() == 0
        assert "Traceback" not in service.log
        assert "ERROR" not in service.log


@pytest.fixture
def client(service: Running) -> Iterator[Client]:
    with service.client() as client:
        yield client
