{# Before a run: each var has a value of its kind, and --vars names no other. Otherwise a build would break off in the
   middle with an error of the engine that names no var, and a misspelt value or name would act like the default. A list
   has the values that a var may have; an empty kind is checked elsewhere. *_materialized and compile_incremental are
   the project's own. A number of days ends at a hundred years: no engine adds any number to a date. #}
{% macro require_vars() -%}
    {%- set whole, share, flag, text = 'a whole number from 0', 'a number from 0 to 1', 'true or false', 'a text' -%}
    {%- set path = 'names with dots between them such as variables.value, or nothing' -%}
    {%- set day, days = 'a day as 2026-01-31', 'a whole number from 0 to 36525' -%}
    {%- set kinds = {
        'match_lookback_days': days,
        'match_skew_days': days,
        'engagement_window_days': days,
        'conversion_offset_days': days,
        'conversion_lookback_days': days ~ ', or nothing',
        'engagement_feeds': '',
        'prefer_human': flag,
        'segment_keys': 'auto or a list of names',
        'max_segment_values': whole,
        'min_segment_people': whole,
        'conversion_value_path': path,
        'event_mapping': ['journeys', 'metarouter'],
        'outbound_convert_timestamps': flag,
        'reporting_timezone': text,
        'earliest_event_at': day,
        'latest_event_at': '',
        'table_rescan_days': days,
        'production_schema': text,
        'snowflake_cluster_keys': flag,
        'rows_of_a_piece': 'a whole number from 1',
        'test_scope': ['changed', 'all'],
        'audit_severity': ['warn', 'error'],
        'max_reject_share': share,
        'min_match_rate': share,
        'max_late_share': share,
        'max_unflagged_share': share,
        'max_sent_other_day_share': share,
        'max_called_after_send_share': share,
        'max_unknown_metric_events': whole,
        'max_misnamed_lines': whole,
        'max_daily_conflicts': whole,
        'max_missing_message_share': share,
        'max_waiting_sends': whole,
        'audit_materialized': '',
        'compile_incremental': '',
    } -%}
    {%- if execute -%}
        {%- set given = invocation_args_dict.get('vars') -%}
        {%- for name in (given if given is mapping else []) if name not in kinds -%}
            {{ exceptions.raise_compiler_error(
                "--vars names " ~ name ~ ", and there is no such var: dbt_project.yml lists all of them. Nothing was built"
            ) }}
        {%- endfor -%}
        {%- for name, kind in kinds.items() if kind -%}
            {%- set value = var(name) -%}
            {%- if value is none -%}
                {%- set is_right = kind is string and kind.endswith('or nothing') -%}
            {%- elif kind is not string -%}
                {%- set is_right = value in kind -%}
            {%- elif kind == flag -%}
                {%- set is_right = value is boolean -%}
            {%- elif kind == share -%}
                {%- set is_right = value is number and value is not boolean and 0 <= value <= 1 -%}
            {%- elif kind.startswith('a whole number') -%}
                {%- set is_right = value is integer and value >= (1 if kind.endswith('1') else 0)
                    and (value <= 36525 or not kind.startswith(days)) -%}
            {%- elif kind == day -%}
                {%- set parts = modules.re.fullmatch('([1-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])', value | string) -%}
                {%- set first = modules.datetime.date(parts[1] | int, parts[2] | int, 1) if parts -%}
                {%- set is_right = parts is not none
                    and (first + modules.datetime.timedelta(parts[3] | int - 1)).month == first.month -%}
            {%- elif kind == path -%}
                {%- set name_of_path = '[^\\s."\'\\\\]([^."\'\\\\]*[^\\s."\'\\\\])?' -%}
                {%- set is_right = value is string and modules.re.fullmatch(
                    '|' ~ name_of_path ~ '([.]' ~ name_of_path ~ ')*', value
                ) is not none -%}
            {%- elif value is string -%}
                {%- set is_right = value | trim != '' -%}
            {%- else -%}
                {%- set is_right = kind.startswith('auto') and value is sequence and value is not mapping
                    and value | reject('string') | list == [] and '' not in value | map('trim') | list -%}
            {%- endif -%}
            {%- if not is_right -%}
                {{ exceptions.raise_compiler_error(
                    "the var " ~ name ~ " is " ~ ("empty" if value is none else tojson(value | string if kind == day else value)) ~ ": write "
                    ~ (kind if kind is string else kind | join(' or '))
                    ~ " (dbt_project.yml, or --vars). Nothing was built"
                ) }}
            {%- endif -%}
        {%- endfor -%}
        {%- set offset, lookback = var('conversion_offset_days'), var('conversion_lookback_days') -%}
        {%- if lookback is not none and lookback < offset -%}
            {{ exceptions.raise_compiler_error(
                "the var conversion_lookback_days is " ~ lookback ~ " and conversion_offset_days " ~ offset
                ~ ": no conversion would count. Write a lookback that is not shorter (dbt_project.yml, or --vars). Nothing was built"
            ) }}
        {%- endif -%}
        {# it stops on other values by itself #}
        {%- do engagement_feeds() -%}
        {# `dbt compile` builds nothing, and may have no connection #}
        {%- if var('reporting_timezone') != 'UTC' and flags.WHICH != 'compile' -%}
            {%- do adapter.dispatch('require_timezone')(var('reporting_timezone')) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{% macro duckdb__require_timezone(zone) -%}
    {%- set found = run_query(
        'select count(*) from pg_timezone_names() where lower(name) = lower('
        ~ dbt.string_literal(dbt.escape_single_quotes(zone)) ~ ')'
    ) -%}
    {%- if found.rows[0][0] == 0 -%}
        {{ exceptions.raise_compiler_error(
            "the var reporting_timezone is " ~ tojson(zone) ~ ": write an IANA name such as Europe/Berlin (dbt_project.yml, or"
            ~ " --vars). Nothing was built"
        ) }}
    {%- endif -%}
{%- endmacro %}

{# Its own error names the zone. #}
{% macro snowflake__require_timezone(zone) -%}
    {%- do run_query('select ' ~ reporting_date(unix_to_timestamp('946684800'))) -%}
{%- endmacro %}
