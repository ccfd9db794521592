{# A 64-bit hash of a row, the same number on both engines, made to be summed: a sum does not depend on the order of
   rows, but on how often each occurs. `numbers` are whole numbers, booleans or fixed-length keys, separated by commas,
   with null as nothing. `texts` carry their length, so that two different rows never give one text. Quoting them as
   surrogate_key() does would cost twice as much. #}
{% macro row_hash(numbers, texts) -%}
    {%- set parts = [] -%}
    {%- for field in numbers -%}
        {%- do parts.append("coalesce(cast(" ~ field ~ " as " ~ dbt.type_string() ~ "), '')") -%}
    {%- endfor -%}
    {%- for field in texts -%}
        {%- set length = 'cast(length(' ~ field ~ ') as ' ~ dbt.type_string() ~ ')' -%}
        {%- do parts.append("coalesce(" ~ length ~ " || ':' || " ~ field ~ ", '')") -%}
    {%- endfor -%}
    {{ adapter.dispatch('md5_lower_half')(parts | join(" || ',' || ")) }}
{%- endmacro %}

{# Snowflake reads the digest as a big-endian number. DuckDB's md5_number_lower() reads it as a little-endian one, which
   is another number, and costs more than this. #}
{% macro duckdb__md5_lower_half(text) -%}
    cast('0x' || right(md5({{ text }}), 16) as ubigint)
{%- endmacro %}

{% macro snowflake__md5_lower_half(text) -%}
    md5_number_lower64({{ text }})
{%- endmacro %}
