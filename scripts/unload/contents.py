"""What each partition holds in a warehouse: rows and hash sum."""

from scripts.errors import UserError
from scripts.unload.datasets import CONSUMED, CONTENTS, HOUR, LEDGER, Dataset, Span
from scripts.unload.engines.base import Engine
from scripts.unload.publish import Contents


def require_relations(engine: Engine, datasets: list[Dataset]) -> None:
    """Raise UserError when the warehouse lacks a relation that is read."""
    # Snowflake stores names in upper case
    listed = (
        f"select lower(table_schema || '.' || table_name) from information_schema.{kind}"
        for kind in ("tables", "views")
    )
    there = {name for (name,) in engine.query(" union ".join(listed))}
    needed = {engine.dialect.relation(name) for dataset in datasets for name in dataset.relations}
    missing = sorted(name for name in needed if name.lower() not in there)
    if missing:
        raise UserError(f"the warehouse has no {', '.join(missing)}: run `dbt build` first")


def contents_of(engine: Engine, dataset: Dataset, span: Span) -> dict[str, Contents]:
    """Return the contents of each partition in the span, in order of time.

    Raises:
        UserError: the hours that dbt counts disagree with the mart.
    """
    if dataset.period is HOUR:
        _require_agreement(engine, dataset)
        query = engine.dialect.contents(dataset, span, ())
    else:
        # small enough to hash now
        columns = engine.describe(f"select * from {engine.dialect.relation(dataset.mart)}")
        query = engine.dialect.contents(dataset, span, columns)
    return {
        partition: Contents(int(rows), str(int(hash_sum)))
        for partition, rows, hash_sum in engine.query(query)
    }


def _require_agreement(engine: Engine, dataset: Dataset) -> None:
    relation = engine.dialect.relation
    again = "run `dbt build`, which brings both to the same state, and unload again"
    kept_by = CONTENTS.rpartition(".")[2]
    # a build that broke off between the two leaves equal row counts where rows were only edited
    ((behind,),) = engine.query(
        f"select count(distinct batch_id) from {relation(CONSUMED)} where model = '{dataset.model}' "
        f"and batch_id not in (select batch_id from {relation(CONSUMED)} where model = '{kept_by}')"
    )
    if behind:
        raise UserError(f"{kept_by} has not read {behind:,} batches that {dataset.model} has: {again}")
    ((total,),) = engine.query(f"select count(*) from {relation(dataset.mart)}")
    ((kept,),) = engine.query(
        f"select coalesce(sum(row_count), 0) from {relation(CONTENTS)} where dataset = '{dataset.name}'"
    )
    if total != kept:
        raise UserError(
            f"{CONTENTS} counts {int(kept):,} rows of {dataset.name}, {dataset.mart} has {total:,}: " + again
        )


def landed_without_calls(engine: Engine) -> bool:
    """Return whether something has landed, and none of it was a call or a send, not even a rejected one."""
    ledger = engine.dialect.relation(LEDGER)
    there = engine.query(
        "select 1 from information_schema.tables "
        f"where lower(table_schema || '.' || table_name) = '{ledger.lower()}'"
    )
    if not there:
        return False
    ((files, calls),) = engine.query(
        "select count(*), coalesce(sum(case when dataset in ('justai_calls', 'justai_sends') "
        f"then row_count + reject_count else 0 end), 0) from {ledger}"
    )
    return bool(files) and not calls


def is_empty(engine: Engine, dataset: Dataset) -> bool:
    """Return whether the mart has no rows at all."""
    return not engine.query(f"select 1 from {engine.dialect.relation(dataset.mart)} limit 1")
