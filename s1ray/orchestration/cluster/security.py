"""Who may command a cluster: whoever reaches Ray runs code on it, unless a token is demanded."""

import os
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from s1ray.orchestration.run_directory.runs import RefusedError

AUTH_MODE = "RAY_AUTH_MODE"
_PROBE_SECONDS = 10
_PROBED = "/api/jobs/"
_FIX = (
    "Start every node with RAY_AUTH_MODE=token and one token file (`ray get-auth-token --generate`)"
)


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address means this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_token_demanded() -> bool:
    """Return whether this process uses token authentication."""
    return os.environ.get(AUTH_MODE, "").lower() == "token"


def refuse_open_cluster(hosts: Iterable[str]) -> None:
    """Refuse a Ray cluster beyond loopback where this process joins it without a token.

    Args:
        hosts: Addresses of its nodes, as they know themselves: what a user calls the head may be
            loopback and tells nothing.

    Raises:
        RefusedError: Anybody on the network could run code where this run's data are.
    """
    beyond = [host for host in hosts if not is_loopback(host)]
    if not beyond or is_token_demanded():
        return
    raise RefusedError(
        f"the Ray cluster of {beyond[0]} is reachable beyond this machine and demands no token, so "
        f"anybody who reaches it runs code on it. {_FIX}, or set ray.require_token=false where the "
        "network itself keeps everybody else out."
    )


def refuse_open_server(address: str) -> None:
    """Refuse a job server beyond loopback that answers without a token.

    Raises:
        ValueError: It does, or it cannot be reached.
    """
    url = address if "://" in address else f"http://{address}"
    is_open = answers_anybody(url)
    if is_open and not is_loopback(urlsplit(url).hostname or ""):
        raise ValueError(
            f"the job server at {address} answers without a token, so anybody who reaches it runs "
            f"code there. {_FIX}, or set require_token=false where the network itself keeps "
            "everybody else out."
        )


def answers_anybody(url: str) -> bool:
    """Return whether a job server lists its jobs for somebody without a token.

    Raises:
        ValueError: Nothing answers there.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ValueError(
            f"address={url!r} is not an http or https address. Give the job server's, as "
            "http://127.0.0.1:8265 (`ray dashboard cluster.yaml` opens a tunnel to it)."
        )
    try:
        with urlopen(Request(url.rstrip("/") + _PROBED), timeout=_PROBE_SECONDS):
            return True
    except HTTPError as error:
        if error.code in {401, 403}:
            return False
        raise ValueError(
            f"{url} is no job server: it answers {error.code}. Set address= to the job server's "
            "own, as http://127.0.0.1:8265."
        ) from error
    except (URLError, OSError) as error:
        raise ValueError(
            f"no job server answers at {url}: {error}. Start the cluster, open the tunnel "
            "(`ray dashboard cluster.yaml`), or set address=."
        ) from error
