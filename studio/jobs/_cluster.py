"""Several recipes side by side on a Dask cluster; the results are those of one after the other.

A trial travels as text and the bytes of its state, and runs in the cluster's process as it would in a
worker of our own, in a folder that is removed afterwards. The model and data lie under the same paths
on every machine. When a process of the cluster dies, Dask gives its trial to another, where it begins
anew: same recipe, same result.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from studio.core.errors import Cancelled, StudioError
from studio.core.state import State
from studio.jobs._folder import JobFolder, Outcome
from studio.jobs._recipe import Recipe

Progress = Callable[[str, int, int], None]
LOOK_S = 1.0
PATIENCE = "10s"
"""How long an address may take to answer."""
_one_at_a_time = Lock()


def run_many(
    recipes: Sequence[Recipe], cluster: Any, *, states: Mapping[str, State] | None = None,
    progress: Progress | None = None,
) -> list[State]:  # fmt: skip
    """Run recipes side by side; their states in the same order.

    `cluster`: address of a scheduler ("tcp://HOST:8786"), or a Dask cluster. `states`: by id, those that
    the plans of the recipes start from. Raises what the first failing recipe ended with; StudioError
    without the package `distributed` or a scheduler at the address.
    """
    client = _client(cluster)
    try:
        stop = f"studio-stop-{uuid.uuid4().hex}"
        futures = [client.submit(trial, *_packed(recipe, states or {}), stop, pure=False) for recipe in recipes]
        try:
            with client.as_current():
                return _gathered(futures, progress)
        except BaseException:
            _event(stop, client).set()
            client.cancel(futures, force=True)
            raise
    finally:
        client.close()


def trial(description: str, start: bytes | None, stop: str) -> tuple[str, bytes]:
    """Run a recipe in a process of a cluster: what went wrong as JSON, and the state as the bytes of a file.

    `stop`: name of the event by which the user ends all trials of a run.
    """
    from studio.jobs import _worker

    recipe = Recipe.from_json(json.loads(description))
    # The number of threads and the generators of torch belong to the whole process.
    with _one_at_a_time, tempfile.TemporaryDirectory() as path:
        folder = JobFolder(Path(path) / "job")
        folder.prepare(recipe, None if start is None else _state(start, path))
        with _watched(_event(stop), folder):
            outcome = _worker.run(folder, recipe)
        if outcome is None or outcome.status != "done":
            words = {} if outcome is None or outcome.error is None else dict(outcome.error)
            return json.dumps(words), b""
        return "", folder.state(len(recipe.jobs) - 1).read_bytes()


@contextmanager
def _watched(stop: Any, folder: JobFolder) -> Iterator[None]:
    """End the job of a folder as soon as the event is set."""
    ended = Event()

    def look() -> None:
        while not ended.wait(LOOK_S):
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


def _event(name: str, client: Any = None) -> Any:
    from distributed import Event as Shared

    return Shared(name, client=client)


def _client(cluster: Any) -> Any:
    try:
        from distributed import Client
    except ImportError:
        remedy = "Install it: pip install 'edge-compression-studio[cluster]'."
        raise StudioError("training on a cluster needs the package 'distributed'.", remedy=remedy) from None
    try:
        return Client(cluster, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        remedy = "Start one with `dask scheduler` and `dask worker ADDRESS --nthreads 1`, or check the address."
        raise StudioError(f"no cluster answers ({error}).", where=str(cluster), remedy=remedy) from None


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
