"""What dbt parsed, kept for all runs of dbt that the tests fork.

dbt keeps it for one folder and one path of the warehouse, which is part of the profile; a parse takes as
long as the rest of a small build. dbt still compares each file with what it read before, and parses those
that differ. The fork server imports this module.
"""

import gc
import hashlib
import importlib
import os
from pathlib import Path
from unittest.mock import patch

from dbt.contracts.files import FileHash
from dbt.contracts.graph.manifest import Manifest, ManifestStateCheck
from dbt.flags import get_flags
from dbt.parser.manifest import ManifestLoader, extended_mashumaro_encoder, extended_mashumuro_decoder
from dbt_common.invocation import get_invocation_id
from filelock import FileLock

from support.project import PARSED

_store = Path(os.environ[PARSED])
_parse = ManifestLoader.read_manifest_for_partial_parse
_check = ManifestLoader.build_manifest_state_check


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


ManifestLoader.build_manifest_state_check = _state
ManifestLoader.read_manifest_for_partial_parse = _read
ManifestLoader.write_manifest_for_partial_parse = _write
# what runs of dbt, DuckDB and typer import late
for module in ("dbt.adapters.snowflake", "pandas", "pydantic.type_adapter", "_strptime"):
    importlib.import_module(module)
# what reads and writes manifests is made at its first use
Manifest.from_msgpack(Manifest().to_msgpack(extended_mashumaro_encoder), extended_mashumuro_decoder)
with patch("dbt.contracts.graph.manifest.get_flags"):
    Manifest().writable_manifest().to_dict()
# each collection in a forked process would look through all that is there, and copy its pages
gc.collect()
gc.freeze()
