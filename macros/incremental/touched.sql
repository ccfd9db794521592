{# A CTE: the batches that some model has not read, of which a touched model takes what they brought or removed. #}
{% macro pending() -%}
pending as (

    select batch_id
    from {{ ref('int_landed_batches') }}
    where is_pending

)
{%- endmacro %}


{# A CTE: the touched events of both feeds. #}
{% macro touched_events_of_feeds() -%}
touched_events as (

    select
        event_at,
        event_date,
        delivery_id,
        journey_id
    from {{ ref('int_touched_events') }}

    union all

    select
        event_at,
        event_date,
        delivery_id,
        journey_id
    from {{ ref('int_touched_sync_events') }}

)
{%- endmacro %}


{# A CTE: templates whose settings changed. It reads the CTE pending. #}
{% macro changed_templates() -%}
changed_templates as (

    select template_id
    from {{ ref('int_settings_changes') }}
    where batch_id in (select batch_id from pending)

)
{%- endmacro %}


{# For models of messages, a CTE in an incremental run: the touched ones. #}
{% macro touched_messages() -%}
{% if is_incremental() -%}
touched as (

    select distinct
        delivery_id,
        first_event_date
    from {{ ref('int_touched_messages') }}
    where delivery_id is not null

),
{%- endif %}
{%- endmacro %}


{# What keeps only these of message_ids. #}
{% macro join_touched_messages() -%}
{% if is_incremental() -%}
inner join touched
        on
            message_ids.delivery_id = touched.delivery_id
            and message_ids.first_event_date >= touched.first_event_date
            {{- and_between('message_ids.first_event_date', 'int_touched_messages', 'first_event_date', since=true) }}
{%- endif %}
{%- endmacro %}


{# What stands behind `from`: the rows of a relation, under an alias, that fulfil `also` and one of several conditions.
   A condition is SQL, or a set: {'on': {column: column of the set}, 'of': the set, 'and': what else must hold}.
   Snowflake's page on subquery operators has no `in (select …)` beside an `or`, so there the sets are joined. #}
{% macro rows_of_any(relation, alias, conditions, also='true') -%}
    {{ return(adapter.dispatch('rows_of_any')(relation, alias, conditions, also)) }}
{%- endmacro %}

{% macro duckdb__rows_of_any(relation, alias, conditions, also) -%}
    {{ relation }} as {{ alias }}
    where
        {{ also }}
        and (
            {%- for condition in conditions %}
            {{ 'or ' if not loop.first }}{{ condition if condition is string else is_in_set(condition) }}
            {%- endfor %}
        )
{%- endmacro %}

{% macro snowflake__rows_of_any(relation, alias, conditions, also) -%}
    {%- set tests = [] %}
    {{- relation }} as {{ alias }}
    {%- for condition in conditions %}
    {%- set name = 'any_' ~ loop.index %}
    {%- if condition is string %}
    {%- do tests.append(condition) %}
    {%- else %}
    {%- do tests.append('(' ~ name ~ '.key_1 is not null' ~ condition.get('and', '') ~ ')') %}
    left join (
        select distinct
            {%- for column in condition['on'].values() %}
            {{ column }} as key_{{ loop.index }}{{ ',' if not loop.last }}
            {%- endfor %}
        from {{ condition['of'] }}
    ) as {{ name }}
        on
            {%- for column in condition['on'].keys() %}
            {{ column }} = {{ name }}.key_{{ loop.index }}{{ ' and' if not loop.last }}
            {%- endfor %}
    {%- endif %}
    {%- endfor %}
    where
        {{ also }}
        and ({{ tests | join(' or ') }})
{%- endmacro %}

{% macro is_in_set(found) -%}
    {%- set columns, of_set = found['on'].keys() | join(', '), found['on'].values() | join(', ') -%}
    {%- set is_in = '(' ~ columns ~ ') in (select ' ~ of_set ~ ' from ' ~ found['of'] ~ ')' -%}
    {{- return('(' ~ is_in ~ found.get('and', '') ~ ')') -}}
{%- endmacro %}
