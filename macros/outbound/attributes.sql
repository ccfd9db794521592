{# CTEs that make the attributes of requests: `parts` is a CTE with one row per request_id, part and precedence of a
   JSON object (`json_text`), whose members become one object per request_id and part in the CTE `attributes`. Of a
   name in several objects, the one with the greatest precedence counts. `ignored`: names of precedence 1 that are no
   attributes, per part. #}
{% macro attributes_of(parts, ignored={}) -%}
opened as (

    {{ json_entries(parts, ['request_id', 'part', 'precedence'], 'json_text') }}

),

named as (

    select
        request_id,
        part,
        member_name,
        member_json,
        member_text,
        row_number() over (partition by request_id, part, member_name order by precedence desc) as choice
    from opened
    {%- for part, names in ignored.items() %}
    {{ 'where' if loop.first else 'and' }}
        not (part = '{{ part }}' and precedence = 1 and member_name in ({{ quoted_list(names) }}))
    {%- endfor %}

),

{{ dated_members('named', 'choice = 1') }},

attributes as (

    select
        request_id,
        part,
        {{ json_object_agg('member_name', 'member_json') }} as members,
        count(*) as member_count,
        max({{ byte_length('member_name') }}) as longest_name,
        max({{ byte_length('member_text') }}) as longest_value
    from converted
    group by request_id, part

)
{%- endmacro %}


{# CTEs that turn texts in ISO 8601 into unix seconds (fractions are cut off, a text without a zone is UTC), at the
   top of an object alone. What names somebody or something stays as it is. #}
{% macro dated_members(relation, condition) -%}
{%- set day = '[0-9]{4}-[0-9]{2}-[0-9]{2}' -%}
{%- set clock = '([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?' -%}
{%- set zone = '(Z|[+-](0[0-9]|1[0-4]):?[0-5][0-9])' -%}
dated as (

    select
        request_id,
        part,
        member_name,
        member_json,
        member_text,
        case
            when
                left(member_json, 1) = '"'
                and {{ matches_all_of('member_text', day ~ '(T' ~ clock ~ zone ~ '?)?') }}
                and member_name not in ('id', 'email', 'anonymous_id', 'userId', 'objectId', 'token')
                and {{ 'true' if var('outbound_convert_timestamps') else 'false' }}
                then {{ try_moment(
                    "left(member_text, 10) || ' ' || case when length(member_text) > 10 then substr(member_text, 12, 8) else '00:00:00' end"
                ) }}
        end as moment,
        case
            when {{ matches_all_of('right(member_text, 6)', '[+-][0-9]{2}:[0-9]{2}') }} then right(member_text, 6)
            when {{ matches_all_of('right(member_text, 5)', '[+-][0-9]{4}') }} then right(member_text, 5)
            else '+0000'
        end as utc_offset
    from {{ relation }}
    where {{ condition }}

),

converted as (

    select
        request_id,
        part,
        member_name,
        member_text,
        case
            when moment is null then member_json
            else cast(
                {{ timestamp_to_unix('moment') }}
                - case when left(utc_offset, 1) = '-' then -60 else 60 end * (
                    60 * {{ text_to_bigint('substr(utc_offset, 2, 2)') }} + {{ text_to_bigint('right(utc_offset, 2)') }}
                ) as {{ dbt.type_string() }}
            )
        end as member_json
    from dated

)
{%- endmacro %}
