"""A small stand-in for the W&B server: enough for the real client to run online against.

It knows runs, their history and their configuration, and which artifacts a run has named; it says
that it has their files already, and forgets everything else it is sent.
"""

import gzip
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml


class SweepDesk:
    """Hands the combinations of a grid to agents, one run at a time.

    A run of an agent that went away is handed to the next agent that comes, as W&B resumes it.
    """

    def __init__(self) -> None:
        self.configs: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        """Values by run id."""
        self.programs: dict[str, str] = {}
        """By run id."""
        self.finished: set[str] = set()
        self._working: dict[str, str] = {}
        """What each agent does."""

    def answer(self, query: str, variables: Any) -> dict[str, Any] | None:
        """Return the answer to a query about sweeps; None to any other."""
        if "upsertSweep" in query:
            return {"upsertSweep": self._create(yaml.safe_load(variables["config"]))}
        if "SweepWithRuns" in query:
            config = yaml.safe_dump(self.configs[variables["sweep"]])
            sweep = {"name": variables["sweep"], "config": config, "runs": {"edges": []}}
            return {"project": {"sweep": sweep}}
        if "createAgent" in query:
            self._working.clear()  # whoever worked before is gone
            return {"createAgent": {"agent": {"id": f"agent-{len(self.runs)}"}}}
        if "agentHeartbeat" in query:
            commands = self._give_work(variables["id"], json.loads(variables["runState"]))
            agent = {"id": variables["id"]}
            return {"agentHeartbeat": {"agent": agent, "commands": json.dumps(commands)}}
        return None

    def _create(self, config: dict[str, Any]) -> dict[str, Any]:
        name = f"sweep{len(self.configs)}"
        self.configs[name] = config
        names = list(config["parameters"])
        grid = itertools.product(*(config["parameters"][key]["values"] for key in names))
        for number, values in enumerate(grid):
            self.runs[f"{name}run{number}"] = dict(zip(names, values, strict=True))
            self.programs[f"{name}run{number}"] = config["program"]
        project = {"name": config["project"], "entity": {"name": "lab"}}
        return {"sweep": {"name": name, "project": project}, "configValidationWarnings": []}

    def _give_work(self, agent: str, alive: dict[str, bool]) -> list[dict[str, Any]]:
        current = self._working.get(agent)
        if current in alive:
            return []
        if current is not None:
            self.finished.add(current)
        waiting = [run for run in self.runs if run not in self.finished]
        if not waiting:
            return [{"type": "exit"}]
        self._working[agent] = run = waiting[0]
        arguments = {key: {"value": value} for key, value in self.runs[run].items()}
        return [{"type": "run", "run_id": run, "args": arguments, "program": self.programs[run]}]


class WandbServer(ThreadingHTTPServer):
    """Keeps what runs sent.

    ``failing`` makes every answer an HTTP error; a cleared ``answering`` lets every request hang.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, list[str]] = {}
        """Names of collections by run; of tables, too, which the client sends as artifacts."""
        self.artifact_types: dict[str, str] = {}
        """Of collections that are there already; the client refuses another type of that name."""
        self.sweeps = SweepDesk()
        self.failing: int | None = None
        self.answering = threading.Event()
        self.answering.set()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error of the server."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serve_wandb() -> Iterator[WandbServer]:
    """Serve on a free loopback port while the block runs."""
    server = WandbServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.answering.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: WandbServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, content: Any, status: int = 200) -> None:
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def do_PUT(self) -> None:
        self._body()
        self._answer({})

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        self.server.answering.wait()
        if self.server.failing is not None:
            self._answer({"error": "refused"}, self.server.failing)
        elif self.path.endswith("/graphql"):
            request = json.loads(body)
            about_sweeps = self.server.sweeps.answer(request["query"], request.get("variables"))
            data = about_sweeps or self._take_artifact(request) or self._query(request)
            self._answer({"data": data})
        elif self.path.endswith("/file_stream"):
            self._stream(json.loads(body))
            self._answer({"exitcode": None, "limits": {}})
        else:
            self._answer({})

    def _stream(self, content: dict[str, Any]) -> None:
        run = self.path.split("/")[-2]
        chunk = content.get("files", {}).get("wandb-history.jsonl")
        if chunk:
            rows = [json.loads(line) for line in chunk["content"]]
            history = self.server.history.setdefault(run, [])
            del history[chunk["offset"] :]
            history.extend(rows)

    def _take_artifact(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer to a query about artifacts; None to any other."""
        if "artifactType" in request["query"]:
            known = self.server.artifact_types.get(request["variables"]["name"].partition(":")[0])
            artifact = None if known is None else {"artifactType": {"name": known}}
            return {"project": {"artifact": artifact}}
        if "createArtifact" not in request["query"]:
            return None
        asked = request["variables"]["input"]
        name = asked["artifactCollectionName"]
        self.server.artifacts.setdefault(asked["runName"], []).append(name)
        taken = {"id": name, "state": "COMMITTED", "artifactSequence": {"latestArtifact": None}}
        return {"createArtifact": {"artifact": taken}}

    def _query(self, request: dict[str, Any]) -> dict[str, Any]:
        query, variables = request["query"], request.get("variables") or {}
        if "upsertBucket" in query:
            return {"upsertBucket": self._upsert(variables)}
        if "RunResumeStatus" in query or "bucket(" in query:
            return {"model": {"id": "p", "name": "p", "bucket": self._resume(variables)}}
        if "viewer" in query:
            return {"viewer": {"id": "u", "entity": "lab", "flags": "{}", "teams": {"edges": []}}}
        if "createRunFiles" in query:
            files = [
                {"name": name, "uploadUrl": f"{self.server.url}/up/{name}"}
                for name in variables.get("files", [])
            ]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if "serverInfo" in query:
            return {"serverInfo": {"features": [], "cliVersionInfo": {}}}
        return {}

    def _upsert(self, variables: dict[str, Any]) -> dict[str, Any]:
        name = variables.get("name") or "unnamed"
        inserted = name not in self.server.runs
        known = self.server.runs.setdefault(name, {})
        known.update({key: value for key, value in variables.items() if value is not None})
        project = {
            "id": "p",
            "name": variables.get("project") or "p",
            "entity": {"id": "e", "name": "lab"},
        }
        bucket = {
            "id": "r",
            "name": name,
            "displayName": name,
            "description": "",
            "config": "{}",
            "sweepName": None,
            "project": project,
            "historyLineCount": len(self.server.history.get(name, [])),
        }
        return {"bucket": bucket, "inserted": inserted}

    def _resume(self, variables: dict[str, Any]) -> dict[str, Any] | None:
        name = variables.get("name") or variables.get("runId")
        if name not in self.server.runs:
            return None
        rows = self.server.history.get(str(name), [])
        tail = json.dumps([json.dumps(rows[-1])]) if rows else "[]"
        return {
            "id": "r",
            "name": name,
            "historyLineCount": len(rows),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": tail,
            "eventsTail": "[]",
            "summaryMetrics": "{}",
            "config": "{}",
            "tags": [],
            # The client resumes only what a client had begun, which its telemetry tells.
            "wandbConfig": json.dumps({"t": {}}),
        }
