{# The datasets of landing, as [source, landing table]. #}
{% macro landing_datasets() -%}
    {%- set datasets = [
        ['justai', 'justai_calls'], ['justai', 'justai_sends'], ['justai', 'justai_variants'], ['customerio', 'customerio_events'],
        ['pipelines', 'pipeline_calls'],
    ] -%}
    {%- for table in [
        'deliveries', 'metrics', 'subjects', 'outputs', 'people', 'attributes', 'delivery_content', 'campaigns', 'broadcasts',
    ] -%}
        {%- do datasets.append(['customerio_sync', 'customerio_' ~ table]) -%}
    {%- endfor -%}
    {{ return(datasets) }}
{%- endmacro %}


{# Before a run: every feed may be missing, and models of it then read an empty table. `copymart land` makes all landing
   tables, whatever it lands, so only a warehouse of an earlier version lacks some. #}
{% macro make_landing_tables() -%}
    {%- if execute and flags.WHICH in ('build', 'run', 'test') -%}
        {%- set missing = [] -%}
        {# landings of all versions made those of the logs; require_landing_columns() looks at their columns #}
        {%- set feeds = landing_datasets() | map('first') | reject('in', ['justai', 'customerio']) | unique | list -%}
        {%- for table in graph.get('sources', {}).values()
            if table.source_name in feeds
            and adapter.get_relation(table.database, table.schema, table.identifier) is none -%}
            {%- do missing.append(table) -%}
        {%- endfor -%}
        {%- if missing -%}
            {%- do adapter.dispatch('make_missing_tables')(missing) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__make_missing_tables(tables) -%}
    {%- for table in tables -%}
        {%- set columns = [] -%}
        {%- for column in table.columns.values() -%}
            {%- do columns.append(adapter.quote(column.name) ~ ' ' ~ column.data_type) -%}
        {%- endfor -%}
        {%- set name = table.identifier -%}
        {%- set made = api.Relation.create(database=table.database, schema=table.schema, identifier=name) -%}
        {%- do run_query('create table if not exists ' ~ made ~ ' (' ~ columns | join(', ') ~ ')') -%}
    {%- endfor -%}
{%- endmacro %}

{# There a landing has a role of its own, which must own its tables. #}
{% macro snowflake__make_missing_tables(tables) -%}
    {{ exceptions.raise_compiler_error(
        "the landing tables in " ~ target.database ~ "." ~ layer_schema('staging') ~ " are those of an earlier version and lack "
        ~ tables | map(attribute='identifier') | join(', ')
        ~ ": run `copymart land` once, with any feed, which makes them. Nothing was built"
    ) }}
{%- endmacro %}
