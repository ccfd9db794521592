with

{{ pending() }},

touched_calls as (

    select * from {{ ref('int_touched_calls') }}

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

-- the key of a removed call does not name its action, so all deliveries of its journey may have changed
journeys_of_removed as (

    select distinct journey_id
    from removed_calls
    where
        journey_id is not null
        and batch_id in (select batch_id from pending)

    union

    select journey_id
    from removed_sends
    where
        journey_id is not null
        and batch_id in (select batch_id from pending)

    -- a send whose variant went is no call any more
    union

    select journey_id
    from touched_sends
    where journey_id is not null

),

keys_of_removed as (

    select delivery_key
    from {{ ref('int_distinct_calls') }}
    where
        journey_id in (select journey_id from journeys_of_removed)
        {{- and_between('journey_id', 'int_touched_calls', 'journey_id') }}

),

keys_of_landed as (

    select calls.delivery_key
    from {{ ref('int_distinct_calls') }} as calls
    inner join touched_calls
        on
            calls.event_timestamp = touched_calls.event_timestamp
            and calls.copy_id = touched_calls.copy_id
            and calls.journey_id = touched_calls.journey_id
            {{- and_between('calls.event_timestamp', 'int_touched_calls', 'event_timestamp') }}

),

touched_keys as (

    select delivery_key
    from keys_of_removed

    union

    select delivery_key
    from keys_of_landed

),

-- a delivery is in the hour of its last call, and was in the hour of a call that still exists or was removed. Outside
-- any journey it has one call. The filter on journey_id lets the engine prune: journeys sort by time, keys do not
hours as (

    select
        'calls' as dataset,
        call_hour as partition_hour
    from touched_calls

    union

    select
        'deliveries' as dataset,
        call_hour as partition_hour
    from touched_calls

    union

    select
        'deliveries' as dataset,
        call_hour as partition_hour
    from {{ ref('int_distinct_calls') }}
    where
        journey_id in (select journey_id from touched_calls)
        {{- and_between('journey_id', 'int_touched_calls', 'journey_id') }}
        and delivery_key in (select delivery_key from touched_keys)

),

final as (

    select
        dataset,
        partition_hour
    from hours

)

select * from final
