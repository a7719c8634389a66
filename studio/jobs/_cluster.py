"""Several recipes side by side on a Dask cluster; the results are those of one after the other.

A trial travels as text and the bytes of its state, and runs in the cluster's process as it would in a
worker of our own, in a folder that is removed afterwards. The model and data lie under the same paths
on every machine. When a process of the cluster dies, Dask gives its trial to another, where it begins
anew: same recipe, same result.
"""

from __future__ import annotations

import json
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from studio.core.errors import Cancelled, StudioError
from studio.core.state import State
from studio.jobs._folder import JobFolder, Outcome, Told, read_reports
from studio.jobs._recipe import Recipe

Progress = Callable[[str, int, int], None]
Listener = Callable[[int, Told], None]
"""`listener(recipe, told)`: the newest report of a recipe, by its place; from a thread of its own."""
LOOK_S = 1.0
PATIENCE_S = 10
"""How long an address may take to answer."""
_one_at_a_time = Lock()


def run_many(
    recipes: Sequence[Recipe], cluster: Any, *, states: Mapping[str, State] | None = None,
    progress: Progress | None = None, listener: Listener | None = None,
) -> list[State]:  # fmt: skip
    """Run recipes side by side; their states in the same order.

    `cluster`: address of a scheduler ("tcp://HOST:8786"), or a Dask cluster. `states`: by id, those that
    the plans of the recipes start from. Raises what the first failing recipe ended with; StudioError
    without the package `distributed` or a scheduler at the address.
    """
    client = _client(cluster)
    try:
        run = f"studio-{uuid.uuid4().hex}"
        if listener is not None:
            client.subscribe_topic(run, lambda event: _hear(event[1], listener))
        if progress is not None and not client.scheduler_info()["workers"]:
            progress("The cluster has no worker: start one with `dask worker ADDRESS --nthreads 1`", 0, len(recipes))
        futures = [
            client.submit(trial, *_packed(recipe, states or {}), run, i, pure=False) for i, recipe in enumerate(recipes)
        ]
        try:
            with client.as_current():
                return _gathered(futures, progress)
        except BaseException:
            _event(run, client).set()
            client.cancel(futures, force=True)
            raise
    finally:
        client.close()


def trial(description: str, start: bytes | None, run: str, place: int) -> tuple[str, bytes]:
    """Run a recipe in a process of a cluster: what went wrong as JSON, and the state as the bytes of a file.

    `run`: name of the event by which the user ends all trials of a run, and of the topic under which they tell;
    `place`: of the recipe among them.
    """
    from distributed import get_client

    from studio.jobs import _worker

    recipe = Recipe.from_json(json.loads(description))
    # The number of threads and the generators of torch belong to the whole process.
    with _one_at_a_time, tempfile.TemporaryDirectory() as path:
        folder = JobFolder(Path(path) / "job")
        folder.prepare(recipe, None if start is None else _state(start, path))
        with _watched(_event(run, get_client()), folder, _teller(run, place)):
            outcome = _worker.run(folder, recipe)
        if outcome is None or outcome.status != "done":
            words = {} if outcome is None or outcome.error is None else dict(outcome.error)
            return json.dumps(words), b""
        return "", folder.state(len(recipe.jobs) - 1).read_bytes()


def _teller(run: str, place: int) -> Callable[[bytes], None]:
    from distributed import get_worker

    worker = get_worker()
    return lambda lines: worker.log_event(run, [place, lines.decode()])


def _hear(message: Any, listener: Listener) -> None:
    place, lines = message
    for told in read_reports(lines.encode()):
        listener(place, told)


@contextmanager
def _watched(stop: Any, folder: JobFolder, tell: Callable[[bytes], None]) -> Iterator[None]:
    """End the job of a folder as soon as the event is set; tell its newest report as it is written there."""
    ended = Event()

    def look() -> None:
        at = 0
        while not ended.wait(LOOK_S):
            lines, at = folder.lines(at)
            if lines:
                tell(lines.splitlines()[-1])
            if stop.is_set():
                folder.wish("cancel")
                return

    watcher = Thread(target=look, name="stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _event(name: str, client: Any) -> Any:
    from distributed import Event as Shared

    return Shared(name, client=client)


def _client(cluster: Any) -> Any:
    try:
        from distributed import Client
    except ImportError:
        remedy = "Install it: pip install 'edge-compression-studio[cluster]'."
        raise StudioError("training on a cluster needs the package 'distributed'.", remedy=remedy) from None
    try:
        if isinstance(cluster, str):
            _knock(cluster)
        return Client(cluster, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as error:
        remedy = "Start one with `dask scheduler` and `dask worker ADDRESS --nthreads 1`, or check the address."
        raise StudioError(f"no cluster answers ({error}).", where=str(cluster), remedy=remedy) from None


def _knock(address: str) -> None:
    """Raise OSError or ValueError where nothing listens: a client that never connected complains when it is deleted."""
    from distributed.comm.addressing import parse_address, parse_host_port

    scheme, place = parse_address(address)
    if scheme in ("tcp", "tls"):
        socket.create_connection(parse_host_port(place), PATIENCE_S).close()


def _packed(recipe: Recipe, states: Mapping[str, State]) -> tuple[str, bytes | None]:
    if recipe.plan.state is None:
        return json.dumps(recipe.to_json()), None
    with tempfile.TemporaryDirectory() as path:
        file = Path(path) / "start.state"
        states[recipe.plan.state].save(file)
        return json.dumps(recipe.to_json()), file.read_bytes()


def _gathered(futures: Sequence[Any], progress: Progress | None) -> list[State]:
    from distributed import as_completed

    done = 0
    for future in as_completed(futures):
        done += 1
        words, _ = _result(future)
        if words:
            Outcome("failed", error=json.loads(words)).check()
            raise Cancelled
        if progress is not None:
            progress("Training on the cluster", done, len(futures))
    with tempfile.TemporaryDirectory() as path:
        return [_state(_result(future)[1], path) for future in futures]


def _result(future: Any) -> tuple[str, bytes]:
    from distributed.scheduler import KilledWorker

    try:
        found: tuple[str, bytes] = future.result()
        return found
    except KilledWorker as error:
        remedy = "Look at the logs of the cluster's workers: perhaps there is too little memory."
        raise StudioError(f"every process that tried has died: {error}.", where="cluster", remedy=remedy) from None


def _state(content: bytes, folder: str) -> State:
    file = Path(folder) / "found.state"
    file.write_bytes(content)
    return State.load(file)
