"""Prints how each variant did: the last step of `make run`."""

import os
import sys
from pathlib import Path

import duckdb
from rich.table import Table
from rich.text import Text

from scripts.console import console, error_console
from scripts.errors import UserError
from scripts.warehouse import connect

# Rates come from sums: an average of daily rates would weigh a day of ten sends like one of ten thousand.
_VARIANTS = """
    with cohorts as (
        select template_id, copy_id, is_control, served, reached, human_opened, human_clicked, converted
        from marts.copy_cohort_metrics_daily
        union all
        select template_id, null, true, null, reached, human_opened, human_clicked, converted
        from marts.control_metrics_daily
    )
    select
        cohorts.template_id,
        case
            when cohorts.copy_id is null then 'control arm'
            else coalesce(
                nullif(any_value(variants.subject), ''), nullif(any_value(variants.body), ''), cohorts.copy_id
            )
        end as variant,
        bool_or(cohorts.is_control),
        sum(cohorts.served),
        sum(cohorts.reached),
        sum(cohorts.human_opened) / nullif(sum(cohorts.reached), 0),
        sum(cohorts.human_clicked) / nullif(sum(cohorts.reached), 0),
        sum(cohorts.converted) / nullif(sum(cohorts.reached), 0)
    from cohorts
    left join marts.dim_copy_variants_current as variants using (copy_id)
    group by cohorts.template_id, cohorts.copy_id
    order by cohorts.template_id, cohorts.copy_id is null, sum(cohorts.reached) desc, cohorts.copy_id
"""


def variants_table(warehouse: duckdb.DuckDBPyConnection) -> Table:
    """Return one row per variant and control arm over all days; rates are per delivered message."""
    table = Table(
        title="Variants: people who opened, clicked and converted, per message delivered",
        title_justify="left",
    )
    table.add_column("template", no_wrap=True)
    table.add_column("variant", max_width=44, no_wrap=True, overflow="ellipsis")
    for heading in ("served", "reached", "opened", "clicked", "converted"):
        table.add_column(heading, justify="right", no_wrap=True)
    previous = None
    for template, variant, is_control, served, reached, *rates in warehouse.execute(_VARIANTS).fetchall():
        if previous not in (None, template):
            table.add_section()
        table.add_row(
            template if template != previous else "",
            Text.assemble(variant, (" (control)" if is_control and served is not None else "", "dim")),
            "" if served is None else f"{int(served):,}",
            f"{int(reached):,}",
            *("" if rate is None else f"{rate:.1%}" for rate in rates),
        )
        previous = template
    return table


def main() -> None:
    """Print the summary of the warehouse that DBT_PROFILES_DIR names."""
    try:
        warehouse = connect(Path("."), Path(os.environ["DBT_PROFILES_DIR"]), read_only=True)
    except UserError as error:
        error_console.print(f"error: {error}")
        sys.exit(1)
    console.print(variants_table(warehouse))


if __name__ == "__main__":
    main()
