{# A 64-bit hash of the fields of a row, the same number on both engines, to be summed up: a sum does not depend on the
   order of rows and does depend on how often one occurs. `numbers` are whole numbers, booleans or fixed-length keys, told
   apart by the comma, null being nothing; `texts` say their length first, so that no two lists of fields make one text.
   Quoting them as surrogate_key() does would cost twice as much. #}
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

{# Snowflake reads the digest as a big-endian number; DuckDB's md5_number_lower(), as a little-endian one, is another
   number, and costs more than this. #}
{% macro duckdb__md5_lower_half(text) -%}
    cast('0x' || right(md5({{ text }}), 16) as ubigint)
{%- endmacro %}

{% macro snowflake__md5_lower_half(text) -%}
    md5_number_lower64({{ text }})
{%- endmacro %}
