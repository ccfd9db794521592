with

batches as (

    select * from {{ ref('int_landed_batches') }}

),

calls as (

    select * from {{ ref('stg_justai__calls') }}

),

removed_calls as (

    select * from {{ source('justai', 'justai_calls_removed') }}

),

pending as (

    select batch_id
    from batches
    where is_pending

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
