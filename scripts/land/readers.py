"""From the bytes of one file to tables of its records, whatever its format."""

import gzip
import zlib
from collections.abc import Iterator

import zstandard
from isal import isal_zlib

from scripts.land.avro import read_avro
from scripts.land.json_lines import read_json_lines
from scripts.land.parquet import read_parquet
from scripts.land.records import LINES, Columns, Piece, first_line
from scripts.land.sources import Opened, Refused

_READERS = {"jsonl": read_json_lines, "parquet": read_parquet, "avro": read_avro}
_DAMAGED = (EOFError, zlib.error, isal_zlib.error, gzip.BadGzipFile, zstandard.ZstdError)


def read_pieces(opened: Opened, columns: Columns) -> Iterator[Piece]:
    """Yield the records of a file in order, in one or more pieces of about PIECE_BYTES.

    Raises:
        Refused: the file as a whole is not what its extension says; earlier pieces may have been yielded.
    """
    empty = True
    try:
        if columns.of_name and opened.file.format != "parquet":
            raise Refused("the warehouse sync writes Parquet: write it as .parquet, or leave it out")
        for piece in _READERS[opened.file.format or ""](opened, columns):
            yield piece
            empty = False
        if empty:
            yield Piece(LINES.empty_table(), True)
        opened.check_unchanged()
    except _DAMAGED as error:
        raise _damaged(error) from error
    except OSError as error:
        # Arrow and bz2 say with an OSError of no number that what they read is damaged
        if error.errno is None:
            raise _damaged(error) from error
        raise Refused(f"it cannot be read ({error}): check the disk and run the command again") from error
    finally:
        opened.stream.close()


def _damaged(error: Exception) -> Refused:
    return Refused(f"it is truncated or damaged ({first_line(error)}): copy it again from its source")
