"""What constants save, by the rows that DuckDB scans."""

import duckdb

from scripts.dev.bench.predicates import predicates, scanned

ROWS, ROW_GROUPS = 20 * 122_880, 20


def test_constants_bound_what_ids_in_random_order_read() -> None:
    with duckdb.connect() as connection:
        by_id, *with_constants = predicates(connection, ROWS)
        assert scanned(connection, by_id) == (ROWS, ROW_GROUPS)
        # the last tenth of the days, and the row group in which it begins
        for predicate in with_constants:
            rows, groups = scanned(connection, predicate)
            assert 0 < rows < ROWS / 5
            assert groups <= ROW_GROUPS / 10 + 1
        answers = {
            connection.execute(f"select count(*) from events where {predicate}").fetchone()
            for predicate in (by_id, *with_constants)
        }
        assert len(answers) == 1
