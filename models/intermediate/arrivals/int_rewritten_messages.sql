with

touched_messages as (

    select * from {{ ref('int_touched_messages') }}

),

journeys as (

    select distinct journey_id
    from touched_messages
    where journey_id is not null

),

-- messages of one delivery are rewritten together: only one of them can have the first event
rewritten as (

    select
        delivery_id,
        first_event_date
    from touched_messages
    where delivery_id is not null

    union all

    select
        delivery_id,
        first_event_date
    from {{ ref('int_messages') }}
    where
        journey_id in (select journey_id from journeys)
        {{- and_between('journey_id', 'int_touched_messages', 'journey_id') }}

),

final as (

    select
        delivery_id,
        min(first_event_date) as first_event_date
    from rewritten
    group by delivery_id

)

select * from final
