with

{{ pending() }},

touched_sync_events as (

    select * from {{ ref('int_touched_sync_events') }}

),

removed_events as (

    select * from {{ source('customerio', 'customerio_events_removed') }}

),

removed_deliveries as (

    select * from {{ source('customerio_sync', 'customerio_deliveries_removed') }}

),

-- a delivery whose person was forgotten no longer says who that was
forgotten_deliveries as (

    select delivery_id
    from removed_deliveries
    where
        batch_id in (select batch_id from pending)
        and internal_customer_id like 'forgotten:%'

),

removals as (

    select {{ unix_to_timestamp('removed_events.timestamp') }} as removed_at
    from removed_events
    where
        batch_id in (select batch_id from pending)
        and (
            user_id is null
            or user_id like 'forgotten:%'
        )

    union all

    select event_at as removed_at
    from touched_sync_events
    where delivery_id in (select delivery_id from forgotten_deliveries)

),

-- a day earlier, because a day of the marts may begin before the day in UTC
earliest as (

    select {{ dbt.dateadd('day', -1, 'min(removed_at)') }} as removed_since_at
    from removals

),

final as (

    select
        true as is_anybody,
        cast(removed_since_at as date) as removed_since_date
    from earliest
    where removed_since_at is not null

)

select * from final
