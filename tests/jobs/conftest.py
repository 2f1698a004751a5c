"""What tests of several jobs share: a chat server, started once for each of their files."""

from collections.abc import Iterator

import pytest

from tests.jobs.served import Server, serve_tiny


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_tiny(tmp_path_factory.mktemp("serve")) as server:
        yield server
