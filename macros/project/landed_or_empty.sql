{# A landing table that a warehouse may lack, because its feed is optional or younger than the warehouse: an empty table
   of the columns that the source names stands for it. dbt does not create it: on Snowflake it would be dbt's then, and
   the role that lands could not write it. #}
{% macro landed_or_empty(source_name, table) -%}
    {%- set relation = source(source_name, table) -%}
    {%- if not execute or this is none or flags.WHICH not in ('build', 'run', 'test')
        or adapter.get_relation(relation.database, relation.schema, relation.identifier) is not none -%}
        {{ return(relation) }}
    {%- endif -%}
    {%- set columns = [] -%}
    {%- for node in graph.sources.values() if node.source_name == source_name and node.name == table -%}
        {%- for column in node.columns.values() -%}
            {%- do columns.append('cast(null as ' ~ landed_type(column.data_type) ~ ') as ' ~ column.name) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return('(select ' ~ columns | join(', ') ~ ' where false) as nothing_landed') }}
{%- endmacro %}


{% macro landed_type(kind) -%}
    {{ return(adapter.dispatch('landed_type')(kind)) }}
{%- endmacro %}

{% macro duckdb__landed_type(kind) -%}
    {{ return(kind) }}
{%- endmacro %}

{# JSON is text in the landing tables there. #}
{% macro snowflake__landed_type(kind) -%}
    {{ return('varchar(134217728)' if kind == 'json' else kind) }}
{%- endmacro %}
