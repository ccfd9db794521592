with

events as (

    select * from {{ ref('fct_engagement_events') }}

),

counted as (

    select
        delivery_key,
        copy_id,
        channel,
        counts_as,
        is_machine,
        {{ reporting_date('event_at') }} as metric_date
    from events
    where
        counts
        and delivery_key is not null

),

final as (

    select
        delivery_key,
        copy_id,
        {{ outcome_columns() }}
    from counted
    group by delivery_key, copy_id

)

select * from final
