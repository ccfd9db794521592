{# The select of the members of JSON objects, one row each: `keys` are columns of the relation to keep, `json_text` is
   the column with the object. A string is unquoted, anything else is JSON text; null members are left out. #}
{% macro json_members(relation, keys, json_text) -%}
    {{ adapter.dispatch('json_members')(relation, keys, json_text) }}
{%- endmacro %}

{% macro duckdb__json_members(relation, keys, json_text) -%}
select
        {{ keys | join(',\n        ') }},
        member.key as member_key,
        case
            when json_type(member.value) = 'VARCHAR' then member.value ->> '$' else cast(member.value as varchar)
        end as member_value
    from (
        select
            {{ keys | join(',\n            ') }},
            unnest(map_entries(cast(cast({{ json_text }} as json) as map(varchar, json)))) as member
        from {{ relation }}
    ) as opened
    where member.value is not null and json_type(member.value) != 'NULL'
{%- endmacro %}

{% macro snowflake__json_members(relation, keys, json_text) -%}
select
        {%- for key in keys %}
        {{ relation }}.{{ key }},
        {%- endfor %}
        cast(member.key as varchar) as member_key,
        cast(member.value as varchar) as member_value
    from {{ relation }},
        lateral flatten(input => try_parse_json({{ relation }}.{{ json_text }}, 'd')) as member
    where not is_null_value(member.value)
{%- endmacro %}
