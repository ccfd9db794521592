with

{{ pending() }},

calls as (

    select * from {{ ref('int_logged_calls') }}

),

removed_calls as (

    select * from {{ source('justai', 'justai_calls_removed') }}

),

removed_sends as (

    select * from {{ source('justai', 'justai_sends_removed') }}

),

touched_sends as (

    select * from {{ ref('int_touched_sends') }}

),

touched as (

    select
        event_timestamp,
        copy_id,
        journey_id
    from calls
    where
        batch_id in (select batch_id from pending)
        {{- and_pending_batch('batch_id') }}

    union all

    select
        event_timestamp,
        copy_id,
        journey_id
    from removed_calls
    where batch_id in (select batch_id from pending)

    union all

    select
        event_timestamp,
        copy_id,
        journey_id
    from removed_sends
    where batch_id in (select batch_id from pending)

    union all

    select
        event_timestamp,
        copy_id,
        journey_id
    from touched_sends

),

final as (

    select distinct
        event_timestamp,
        {{ unix_to_timestamp('event_timestamp') }} as called_at,
        {{ dbt.date_trunc('hour', unix_to_timestamp('event_timestamp')) }} as call_hour,
        copy_id,
        journey_id
    from touched

)

select * from final
