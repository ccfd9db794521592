{# Making JSON text. Objects are put together from texts, because an engine's own constructor sorts and spaces as it
   likes, and what is sent must be equal byte for byte on both. #}


{# A text as a JSON string; null stays null. #}
{% macro json_text(text) -%}
    {{ adapter.dispatch('json_text')(text) }}
{%- endmacro %}

{% macro duckdb__json_text(text) -%}
    case when {{ text }} is not null then cast(to_json({{ text }}) as varchar) end
{%- endmacro %}

{% macro snowflake__json_text(text) -%}
    to_json(to_variant({{ text }}))
{%- endmacro %}


{# One member of a JSON object given as text, as JSON text; null when absent or null. #}
{% macro json_value(object, key) -%}
    nullif({{ adapter.dispatch('json_value')(object, key) }}, 'null')
{%- endmacro %}

{% macro duckdb__json_value(object, key) -%}
    cast(json_extract({{ object }}, '$."{{ key }}"') as varchar)
{%- endmacro %}

{% macro snowflake__json_value(object, key) -%}
    to_json({{ snowflake__parsed_json(object) }}:"{{ key }}")
{%- endmacro %}


{# A JSON object of members in this order, as [name, SQL of its JSON text]; a member whose text is null is left out. #}
{% macro json_object(members) -%}
    {%- set parts = [] -%}
    {%- for name, json in members -%}
        {%- do parts.append("coalesce(',\"" ~ name ~ "\":' || " ~ json ~ ", '')") -%}
    {%- endfor -%}
    '{' || substr({{ parts | join(' || ') }}, 2) || '}'
{%- endmacro %}


{# Aggregate: a JSON object of names and JSON texts, sorted by name. #}
{% macro json_object_agg(name, json) -%}
    '{' || {{ dbt.listagg(json_text(name) ~ " || ':' || " ~ json, "','", 'order by ' ~ name) }} || '}'
{%- endmacro %}


{# The select of the members of JSON objects with their JSON text, one row each: `keys` are columns of the relation to
   keep, `json_text` is the column with the object. A null member stays, as null. `member_text` is the text of a string,
   and the JSON text of anything else. #}
{% macro json_entries(relation, keys, json_text) -%}
    {{ adapter.dispatch('json_entries')(relation, keys, json_text) }}
{%- endmacro %}

{% macro duckdb__json_entries(relation, keys, json_text) -%}
select
        {{ keys | join(',\n        ') }},
        member.key as member_name,
        coalesce(cast(member.value as varchar), 'null') as member_json,
        coalesce(member.value ->> '$', 'null') as member_text
    from (
        select
            {{ keys | join(',\n            ') }},
            unnest(map_entries(cast(cast({{ json_text }} as json) as map(varchar, json)))) as member
        from {{ relation }}
    ) as opened
{%- endmacro %}

{% macro snowflake__json_entries(relation, keys, json_text) -%}
select
        {%- for key in keys %}
        {{ relation }}.{{ key }},
        {%- endfor %}
        cast(member.key as varchar) as member_name,
        coalesce(to_json(member.value), 'null') as member_json,
        coalesce(cast(member.value as varchar), 'null') as member_text
    from {{ relation }},
        lateral flatten(input => try_parse_json({{ relation }}.{{ json_text }}, 'd')) as member
{%- endmacro %}


{# The number of bytes of a text in UTF-8. #}
{% macro byte_length(text) -%}
    {{ adapter.dispatch('byte_length')(text) }}
{%- endmacro %}

{% macro duckdb__byte_length(text) -%}
    strlen({{ text }})
{%- endmacro %}

{% macro snowflake__byte_length(text) -%}
    bit_length({{ text }}) / 8
{%- endmacro %}


{# SHA-256 of a text in UTF-8, as 64 hexadecimal digits in lower case. #}
{% macro sha256_of(text) -%}
    {{ adapter.dispatch('sha256_of')(text) }}
{%- endmacro %}

{% macro duckdb__sha256_of(text) -%}
    sha256({{ text }})
{%- endmacro %}

{% macro snowflake__sha256_of(text) -%}
    sha2({{ text }}, 256)
{%- endmacro %}


{# A text that is written as 2026-03-01 10:00:00, as a time; null if there is no such day. #}
{% macro try_moment(text) -%}
    {{ adapter.dispatch('try_moment')(text) }}
{%- endmacro %}

{% macro duckdb__try_moment(text) -%}
    try_cast({{ text }} as timestamp)
{%- endmacro %}

{% macro snowflake__try_moment(text) -%}
    try_to_timestamp_ntz({{ text }}, 'YYYY-MM-DD HH24:MI:SS')
{%- endmacro %}
