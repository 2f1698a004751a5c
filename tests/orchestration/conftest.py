"""What tests of several rooms of orchestration share: a stand-in for W&B's server."""

from collections.abc import Iterator

import pytest

from tests.orchestration.wandb_server import WandbServer, serve_wandb


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A W&B server that this process and its children are logged in to."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with serve_wandb() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
        yield server
