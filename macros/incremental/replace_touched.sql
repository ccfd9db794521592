{# Incremental strategy: the rows that the arrivals touched go, the rows recomputed for them come. A model names what
   was touched in its config, as a model and the columns to join it on,
       meta={'touched': [{'model': 'int_touched_calls', 'on': {'event_timestamp': 'event_timestamp'}}]}
   with `since` for a column that is never less than the one it is joined to, which lets the engine skip what lies
   before, and `only` for a condition on the rows that may go. The model must select exactly the rows of what was touched. Nothing is merged row by row, so rows that are no longer made
   disappear, and doing it twice changes nothing. #}
{% macro get_incremental_replace_touched_sql(arguments) %}
    {%- set relation = arguments['target_relation'] -%}
    {%- set columns = get_quoted_csv(arguments['dest_columns'] | map(attribute='name')) -%}
    {%- do stop_on_other_settings() -%}
    {%- set statements -%}
        {%- for touched in config.get('meta')['touched'] %}
            delete from {{ relation }} as kept
            using (
                select distinct {{ (touched['on'].values() | list + touched.get('since', {}).values() | list) | join(', ') }}
                from {{ ref(touched['model']) }}
                where {% for column in touched['on'].values() -%}
                    {{ column }} is not null{{ ' and ' if not loop.last }}
                {%- endfor %}
            ) as touched
            where
                {% for column, touched_column in touched['on'].items() -%}
                    kept.{{ column }} = touched.{{ touched_column }}{{ ' and ' if not loop.last }}
                {%- endfor -%}
                {%- for column, touched_column in touched.get('since', {}).items() %}
                    and kept.{{ column }} >= touched.{{ touched_column }}
                {%- endfor %}
                {%- if touched.get('only') %}
                    and kept.{{ touched['only'] }}
                {%- endif %};
        {%- endfor %}
            insert into {{ relation }} ({{ columns }})
            select {{ columns }}
            from {{ arguments['temp_relation'] }};
    {%- endset %}
    {{ return(adapter.dispatch('in_one_transaction')(statements)) }}
{% endmacro %}


{# dbt-duckdb runs a model's statements and hooks in one transaction, dbt-snowflake each by itself. #}
{% macro duckdb__in_one_transaction(statements) %}
    {{ return(statements) }}
{% endmacro %}

{# Two semicolons in a row are an empty statement, which Snowflake refuses. #}
{% macro snowflake__in_one_transaction(statements) %}
    {{ return(snowflake_dml_explicit_transaction((statements | trim).rstrip(';'))) }}
{% endmacro %}


{# dbt's own, with more cases: it holds while dbt parses, so that dbt sees what the incremental branch reads; a unit
   test has no relation of its own and tests the whole; without a warehouse `dbt compile --vars 'compile_incremental:
   true'`, or false, says which branch is wanted. #}
{% macro is_incremental() %}
    {%- if not execute -%}
        {{ return(true) }}
    {%- elif var('compile_incremental', none) is not none -%}
        {{ return(var('compile_incremental')) }}
    {%- endif -%}
    {{ return(this is not none and dbt.is_incremental()) }}
{% endmacro %}
