with

events as (

    select * from {{ ref('fct_engagement_events') }}

),

messages as (

    select * from {{ ref('int_messages') }}

),

counted as (

    select
        events.delivery_id,
        events.control_template_id,
        events.channel,
        events.counts_as,
        events.is_machine,
        {{ reporting_date('messages.first_event_at') }} as delivery_date,
        {{ reporting_date('events.event_at') }} as metric_date
    from events
    inner join messages
        on events.delivery_id = messages.delivery_id
    where
        events.counts
        and events.control_template_id is not null

),

final as (

    select
        delivery_id,
        delivery_date,
        control_template_id as template_id,
        {{ outcome_columns() }}
    from counted
    group by delivery_id, delivery_date, control_template_id

)

select * from final
