"""Which hard cases a history met, by what landed and what each build changed, not by its plan."""

import duckdb

# Tables as they were after the last build that came to its end.
_KEPT = {
    "batches": "staging.landed_batches",
    "files": "staging.landed_files",
    "consumed": "staging.consumed_batches",
    "changes": "intermediate.int_settings_changes",
    "messages": "intermediate.int_messages",
    "variants": "marts.dim_copy_variants",
    "deliveries": "marts.fct_deliveries",
    "events": "marts.fct_engagement_events",
    "cohorts": "marts.copy_cohort_metrics_daily",
    "controls": "intermediate.int_control_templates",
}

_OLD = "(select batch_id from before_batches)"
_NEW_CHANGES = (
    "from intermediate.int_settings_changes where batch_id not in (select batch_id from before_changes)"
)

# Each query gives a row when the case occurred between two builds.
CASES = {
    "a call weeks late splits a version": f"""
        select 1
        from marts.dim_copy_variants as fresh
        join before_variants as split
            on fresh.copy_id = split.copy_id
            and fresh.content_hash != split.content_hash
            and fresh.valid_from > split.valid_from
            and fresh.valid_from < coalesce(split.valid_to, 'infinity')
        join marts.dim_copy_variants as rest
            on rest.copy_id = fresh.copy_id
            and rest.valid_from = fresh.valid_to
            and rest.content_hash = split.content_hash
        join staging.justai_calls as calls
            on calls.copy_id = fresh.copy_id
            and calls.event_timestamp = epoch(fresh.valid_from)
            and calls._batch_id not in {_OLD}
        where calls.event_timestamp < (
            select max(event_timestamp) - 14 * 86400 from staging.justai_calls where _batch_id in {_OLD}
        )""",
    "a retry on the next day changes the copy": """
        select 1
        from marts.fct_deliveries as now
        join before_deliveries as old using (delivery_key)
        where now.copy_id != old.copy_id and now.delivery_date = old.delivery_date + 1""",
    "an event lands before its call": f"""
        select 1
        from intermediate.int_messages as now
        join before_messages as old using (delivery_id)
        join staging.justai_calls as calls
            on now.journey_id = calls.journey_id and calls._batch_id not in {_OLD}
        where old.unmatched_reason = 'no_call_in_journey' and now.delivery_key is not null""",
    "events land again in another order": f"""
        select 1
        from (
            select
                again._file,
                row_number() over (partition by again._file order by again._line) as place,
                row_number() over (partition by again._file order by old._file, old._line) as old_place,
                old.event_id is not null as is_old
            from (
                select event_id, _file, min(_line) as _line from staging.customerio_events
                where _batch_id not in {_OLD} group by event_id, _file
            ) as again
            left join (
                select event_id, min(_file) as _file, min(_line) as _line from staging.customerio_events
                where _batch_id in {_OLD} group by event_id
            ) as old using (event_id)
        )
        group by _file
        having bool_and(is_old) and bool_or(place != old_place)""",
    "an earlier open moves the first to another day": """
        select 1
        from marts.fct_engagement_events as now
        join before_events as old
            on coalesce(now.delivery_key, now.delivery_id) = coalesce(old.delivery_key, old.delivery_id)
        where
            now.counts_as = 'opened' and old.counts_as = 'opened'
            and now.is_first and old.is_first
            and now.metric_date < old.metric_date""",
    "the sync counts what the webhooks lack": """
        select 1
        from marts.fct_engagement_events as now
        left join before_events as old using (event_id, event_date)
        where now.feed = 'sync' and now.counts and old.event_id is null""",
    "the webhooks count what the sync had counted": """
        select 1
        from marts.fct_engagement_events as now
        join before_events as old using (event_id, event_date)
        where now.feed = 'sync' and old.counts and now.uncounted_reason = 'in_other_feed'""",
    "the sync counts again what the webhooks lost": """
        select 1
        from marts.fct_engagement_events as now
        join before_events as old using (event_id, event_date)
        where now.feed = 'sync' and now.counts and old.uncounted_reason = 'in_other_feed'""",
    "a file is replaced by fewer rows": """
        select 1
        from staging.landed_files as now
        join before_files as old using (dataset, file)
        where now.row_count < old.row_count""",
    "a file is replaced by as many rows": """
        select 1
        from staging.landed_files as now
        join before_files as old using (dataset, file)
        where now.row_count = old.row_count and now.content_hash != old.content_hash""",
    "a backfill removes an hour altogether": """
        select 1
        from before_files
        where (dataset, path_hour) not in (select dataset, path_hour from staging.landed_files)""",
    "a control copy is named later": """
        select 1
        from marts.copy_cohort_metrics_daily as now
        join before_cohorts as old using (delivery_date, copy_id)
        where now.is_control != old.is_control""",
    "a control template is named later": """
        select 1
        from intermediate.int_control_templates as now
        join before_deliveries as delivered on delivered.template_id = now.control_template_id
        join marts.control_metrics_daily as counted
            on counted.template_id = now.template_id and counted.delivery_date = delivered.delivery_date
        where not exists (
            from before_controls as old
            where old.template_id = now.template_id and old.control_template_id = now.control_template_id
        )""",
    "a control template is taken back": """
        select 1
        from before_controls as old
        join before_deliveries as delivered on delivered.template_id = old.control_template_id
        join before_events as events
            on events.delivery_key = delivered.delivery_key and events.counts
        where not exists (
            from intermediate.int_control_templates as now
            where now.template_id = old.template_id and now.control_template_id = old.control_template_id
        )""",
    "the action map changes later": f"""
        select 1
        from intermediate.int_messages as now
        join before_messages as old using (delivery_id)
        where
            (now.delivery_key, now.control_template_id, now.unmatched_reason)
            is distinct from (old.delivery_key, old.control_template_id, old.unmatched_reason)
            and exists ({_NEW_CHANGES})
            and not exists (
                from staging.customerio_events as events
                where events._batch_id not in {_OLD} and events.data->>'delivery_id' = now.delivery_id
            )
            and not exists (
                from staging.justai_calls as calls
                join staging.customerio_events as events
                    on calls.journey_id = events.data->>'journey_id'
                where calls._batch_id not in {_OLD} and events.data->>'delivery_id' = now.delivery_id
            )
            and not exists (
                from staging.justai_calls_removed as calls
                join staging.customerio_events as events on calls.journey_id = events.data->>'journey_id'
                where calls.batch_id not in {_OLD} and events.data->>'delivery_id' = now.delivery_id
            )
            and now.delivery_id not in (
                select delivery_id from staging.customerio_events_removed
                where batch_id not in {_OLD} and delivery_id is not null
            )""",
    "the feeds of a day share too few, and enough again": """
        select 1 from intermediate.int_feed_day_changes where not is_apart""",
    "an edit is reverted": """
        select 1
        from marts.dim_copy_variants as now
        where
            change_type = 'reverted'
            and version_key not in (select version_key from before_variants)
            and copy_id in (select copy_id from before_variants)""",
    "several landings between two builds": f"""
        select 1
        from staging.landed_batches
        where batch_id not in {_OLD}
        group by dataset
        having count(*) > 1""",
    "no landing between two builds": f"""
        select 1
        where
            not exists (from staging.landed_batches where batch_id not in {_OLD})
            and not exists ({_NEW_CHANGES})""",
}

HALF_WAY = "a build dies half-way and is run again"
REFRESHED = "a full refresh in between"

ALL_CASES = (*CASES, HALF_WAY, REFRESHED)

# Whether some incremental models have consumed what was pending, and others not.
_IS_HALF_BUILT = """
    select 1
    from intermediate.int_landed_batches as batches
    where is_pending
        and (select count(*) from staging.consumed_batches where batch_id = batches.batch_id)
        between 1 and (select count(*) - 1 from staging.built_with)"""


class Watch:
    """Notes which cases occurred in the warehouse that unqualified names mean."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.seen: frozenset[str] = frozenset()
        self._built = False
        self._half_built = False

    def died(self) -> None:
        """A build broke off."""
        self._half_built = self._built and self._gives_rows(_IS_HALF_BUILT)

    def done(self, refresh: bool = False) -> None:
        """A build came to its end."""
        if self._built:
            occurred = {case for case, query in CASES.items() if self._gives_rows(query)}
            half = {HALF_WAY} if self._half_built else set()
            self.seen |= occurred | half | ({REFRESHED} if refresh else set())
        for name, table in _KEPT.items():
            self.connection.execute(f"create or replace temp table before_{name} as from {table}")
        self._built, self._half_built = True, False

    def _gives_rows(self, query: str) -> bool:
        return bool(self.connection.execute(query).fetchone())
