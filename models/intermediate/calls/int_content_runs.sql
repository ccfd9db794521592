{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_calls', 'on': {'copy_id': 'copy_id', 'call_hour': 'call_hour'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

{% if is_incremental() -%}
touched_hours as (

    select distinct
        copy_id,
        call_hour
    from {{ ref('int_touched_calls') }}

),

{% endif -%}
-- nearly every hour of a copy has one content, which a minimum and a maximum show without ordering its calls
hours as (

    select
        calls.copy_id,
        calls.call_hour,
        min(calls.event_timestamp) as starts_at,
        min(calls.content_hash) as content_hash,
        max(calls.content_hash) as greatest_hash,
        {{ dbt.any_value('calls.template_id') }} as template_id,
        {{ dbt.any_value('calls.vars') }} as vars
    from {{ ref('int_distinct_calls') }} as calls
    {% if is_incremental() -%}
    inner join touched_hours
        on
            calls.copy_id = touched_hours.copy_id
            and calls.call_hour = touched_hours.call_hour
            {{- and_between('calls.call_hour', 'int_touched_calls', 'call_hour') }}
    {%- endif %}
    group by calls.copy_id, calls.call_hour

),

mixed_hours as (

    select
        copy_id,
        call_hour
    from hours
    where content_hash != greatest_hash

),

-- in one second a copy has one content: the one with the greatest hash
instants as (

    select
        calls.copy_id,
        calls.call_hour,
        calls.event_timestamp,
        calls.content_hash,
        calls.template_id,
        calls.vars,
        calls.content_hash != max(calls.content_hash) over (
            partition by calls.copy_id, calls.event_timestamp
        ) as is_outvoted
    from {{ ref('int_distinct_calls') }} as calls
    inner join mixed_hours
        on
            calls.copy_id = mixed_hours.copy_id
            and calls.call_hour = mixed_hours.call_hour

),

compared as (

    select
        copy_id,
        call_hour,
        event_timestamp,
        content_hash,
        template_id,
        vars,
        lag(content_hash) over (partition by copy_id, call_hour order by event_timestamp) as previous_hash
    from instants
    where not is_outvoted

),

runs as (

    select
        copy_id,
        call_hour,
        starts_at,
        content_hash,
        template_id,
        vars,
        false as is_outvoted
    from hours
    where content_hash = greatest_hash

    union all

    select
        copy_id,
        call_hour,
        event_timestamp as starts_at,
        content_hash,
        template_id,
        vars,
        false as is_outvoted
    from compared
    where previous_hash is null or previous_hash != content_hash

    union all

    select distinct
        copy_id,
        call_hour,
        event_timestamp as starts_at,
        content_hash,
        template_id,
        vars,
        true as is_outvoted
    from instants
    where is_outvoted

),

final as (

    select
        copy_id,
        call_hour,
        starts_at,
        content_hash,
        template_id,
        vars,
        is_outvoted
    from runs

)

select * from final
