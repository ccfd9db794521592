{# Text as a whole number, null if it is not one. '41.0' is one; a cast alone would round '41.5' to 42. #}
{% macro text_to_bigint(text) -%}
    case when {{ adapter.dispatch('is_whole_number')(text) }} then cast({{ text }} as bigint) end
{%- endmacro %}

{% macro duckdb__is_whole_number(text) -%}
    regexp_full_match({{ text }}, '-?[0-9]{1,18}([.]0*)?')
{%- endmacro %}

{% macro snowflake__is_whole_number(text) -%}
    regexp_like({{ text }}, '-?[0-9]{1,18}([.]0*)?')
{%- endmacro %}


{# Text as a boolean, null if it is neither true nor false. dbt.safe_cast fails on other text on DuckDB. #}
{% macro text_to_boolean(text) -%}
    case lower({{ text }}) when 'true' then true when 'false' then false end
{%- endmacro %}


{# md5 of the fields as a list of quoted texts, with null unquoted: ('a', null) and ('a,null') get different keys, which
   a separator alone does not guarantee. #}
{% macro surrogate_key(fields) -%}
    {%- set parts = [] -%}
    {%- for field in fields -%}
        {%- do parts.append(
            "coalesce('\"' || replace(replace(cast(" ~ field ~ " as varchar), '" ~ backslash() ~ "', '" ~ backslash() * 2 ~ "'), '\"', '"
            ~ backslash() ~ "\"') || '\"', 'null')"
        ) -%}
    {%- endfor -%}
    md5({{ parts | join(" || ',' || ") }})
{%- endmacro %}

{# In a string literal \ begins an escape on Snowflake and is a plain character on DuckDB. #}
{% macro backslash() -%}
    {{ return(adapter.dispatch('backslash')()) }}
{%- endmacro %}

{% macro duckdb__backslash() -%}
    {{ return('\\') }}
{%- endmacro %}

{% macro snowflake__backslash() -%}
    {{ return('\\\\') }}
{%- endmacro %}


{# A line feed; written as chr() because the engines disagree on escapes in literals. #}
{% macro newline() -%}
    chr(10)
{%- endmacro %}
