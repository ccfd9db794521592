"""What dbt parsed and Jinja compiled, kept for all runs of dbt that the tests fork.

dbt keeps a parse for one folder and one path of the warehouse, which is part of the profile; a parse takes as
long as the rest of a small build. dbt still compares each file with what it read before, and parses those
that differ. A fifth of the rest compiles the same templates in each run, and a tenth writes events that no
log takes. The fork server imports this module.
"""

import gc
import hashlib
import importlib
import marshal
import os
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType
from typing import Any
from unittest.mock import patch

import jinja2
from dbt.adapters.factory import reset_adapters
from dbt.cli.main import dbtRunner
from dbt.contracts.files import FileHash
from dbt.contracts.graph.manifest import Manifest, ManifestStateCheck
from dbt.flags import get_flags
from dbt.parser.manifest import ManifestLoader, extended_mashumaro_encoder, extended_mashumuro_decoder
from dbt_common.events.event_manager import EventManager
from dbt_common.events.logger import _log_level_map
from dbt_common.invocation import get_invocation_id
from filelock import FileLock

from support.project import PARSED

_store = Path(os.environ[PARSED])
_parse = ManifestLoader.read_manifest_for_partial_parse
_check = ManifestLoader.build_manifest_state_check
_compile = jinja2.Environment.compile
_fire_event = EventManager.fire_event


def _state(loader: ManifestLoader) -> ManifestStateCheck:
    """What dbt compares before it reuses a parse, without the path of the warehouse: no model reads it."""
    state = _check(loader)
    places = ("path", "config_options")
    connection = sorted(loader.root_project.credentials.connection_info())
    state.profile_hash = FileHash.from_contents(repr([item for item in connection if item[0] not in places]))
    return state


def _file(loader: ManifestLoader) -> Path:
    # a seed has the path of its project
    state = repr((loader.root_project.project_root, loader.manifest.state_check.to_dict()))
    return _store / f"{hashlib.sha256(state.encode()).hexdigest()}.msgpack"


def _read(loader: ManifestLoader) -> Manifest | None:
    if not get_flags().PARTIAL_PARSE:
        return _parse(loader)
    file = _file(loader)
    if not file.exists():
        # of workers that want the same parse, the others wait for the first
        loader.lock = FileLock(file.with_suffix(".lock"))
        loader.lock.acquire()
        if not file.exists():
            return None
        loader.lock.release()
    manifest = Manifest.from_msgpack(file.read_bytes(), extended_mashumuro_decoder)
    manifest.metadata.invocation_id = get_invocation_id()
    return manifest


def _write(loader: ManifestLoader) -> None:
    file = _file(loader)
    if not file.exists():
        own = file.with_suffix(f".{os.getpid()}")
        own.write_bytes(loader.manifest.to_msgpack(extended_mashumaro_encoder))
        own.replace(file)
    if hasattr(loader, "lock"):
        loader.lock.release()


def _compiled(self: jinja2.Environment, source: Any, *args: Any, **kwargs: Any) -> Any:
    """Take a template's code from the store, or compile it and keep it there."""
    if not isinstance(source, str) or args or kwargs:
        return _compile(self, source, *args, **kwargs)
    key = repr((type(self).__name__, sorted(self.extensions), source))
    file = _store / hashlib.sha256(key.encode()).hexdigest()
    try:
        return marshal.loads(file.read_bytes())
    except FileNotFoundError:
        code = _compile(self, source)
    assert isinstance(code, CodeType)
    own = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    own.write_bytes(marshal.dumps(code))
    own.replace(file)
    return code


def _fire(self: EventManager, e: Any, level: Any = None, *args: Any, **kwargs: Any) -> None:
    """Leave out what no log takes: dbt writes each line before it looks whether a log takes its level."""
    number = _log_level_map[level or e.level_tag()]
    if any(log._python_logger.isEnabledFor(number) for log in self.loggers):
        _fire_event(self, e, level, *args, **kwargs)


jinja2.Environment.compile = _compiled  # type: ignore[method-assign]
EventManager.fire_event = _fire
ManifestLoader.build_manifest_state_check = _state
ManifestLoader.read_manifest_for_partial_parse = _read
ManifestLoader.write_manifest_for_partial_parse = _write
# what runs of dbt, DuckDB and typer import late
for module in ("dbt.adapters.snowflake", "pandas", "pydantic.type_adapter", "_strptime"):
    importlib.import_module(module)


def _parse_a_small_project() -> None:
    """Let dbt make what it makes at the first use of each of its classes, a sixth of a small build."""
    with TemporaryDirectory() as folder, patch.dict(os.environ, DO_NOT_TRACK="1"):
        for name, text in _SMALL_PROJECT.items():
            (Path(folder) / name).write_text(text)
        places = ("--project-dir", "--profiles-dir", "--log-path", "--target-path")
        # the static parser starts threads, for which each forked process would wait for ever
        parse = ("--quiet", "--no-static-parser", "parse")
        done = dbtRunner().invoke([*parse, *(word for place in places for word in (place, folder))])
        assert done.success, done.exception
    reset_adapters()


_SMALL_PROJECT = {
    "dbt_project.yml": "{name: small, profile: small, model-paths: [.]}",
    "profiles.yml": "small: {target: dev, outputs: {dev: {type: duckdb, schema: main}}}",
    "model.sql": "select 1 as number",
}
_parse_a_small_project()
# before it is asked for
with patch("dbt.contracts.graph.manifest.get_flags"):
    Manifest().writable_manifest().to_dict()
# each collection in a forked process would look through all that is there, and copy its pages
gc.collect()
gc.freeze()
