{{ config(materialized='view') }}

with

changes as (

    select * from {{ ref('int_feed_day_changes') }}

),

ranked as (

    select
        event_date,
        is_apart,
        row_number() over (partition by event_date order by change_number desc) as recency
    from changes

),

final as (

    select event_date
    from ranked
    where
        recency = 1
        and is_apart

)

select * from final
