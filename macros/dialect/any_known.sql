{# Aggregate: a value of the group that is not null, where all that are not null are equal. Snowflake's any_value() may
   give null; DuckDB's gives the first value that is none, and costs a fraction of max() on text. #}
{% macro any_known(value) -%}
    {{ adapter.dispatch('any_known')(value) }}
{%- endmacro %}

{% macro duckdb__any_known(value) -%}
    any_value({{ value }})
{%- endmacro %}

{% macro snowflake__any_known(value) -%}
    max({{ value }})
{%- endmacro %}
