{# Aggregate: bitwise OR of whole numbers. #}
{% macro bit_or(number) -%}
    {{ adapter.dispatch('bit_or')(number) }}
{%- endmacro %}

{% macro duckdb__bit_or(number) -%}
    bit_or({{ number }})
{%- endmacro %}

{% macro snowflake__bit_or(number) -%}
    bitor_agg({{ number }})
{%- endmacro %}


{# Bitwise AND of two whole numbers. #}
{% macro bit_and(number, mask) -%}
    {{ adapter.dispatch('bit_and')(number, mask) }}
{%- endmacro %}

{% macro duckdb__bit_and(number, mask) -%}
    ({{ number }} & {{ mask }})
{%- endmacro %}

{% macro snowflake__bit_and(number, mask) -%}
    bitand({{ number }}, {{ mask }})
{%- endmacro %}
