with

events as (

    select * from {{ ref('int_distinct_events') }}

),

final as (

    select
        delivery_id,
        min(event_at) as first_event_at,
        {{ dbt.dateadd('day', var('engagement_window_days'), 'min(event_at)') }} as window_ends_at,
        {{ dbt.bool_or("metric = 'clicked' and not coalesce(is_machine_click, false)") }} as has_human_click
    from events
    where is_about_message
    group by delivery_id

)

select * from final
