-- R7: the clicks of a day's links are the clicks of the day, and no link is clicked by more deliveries than events.
with

links as (

    select * from {{ ref('link_clicks_daily') }}
    where true {{ and_touched('metric_date', 'int_touched_dates') }}

),

days as (

    select * from {{ ref('copy_metrics_daily') }}
    where true {{ and_touched('metric_date', 'int_touched_dates') }}

),

summed as (

    select
        metric_date,
        copy_id,
        sum(clicked_events) as clicked_events,
        sum(human_clicked_events) as human_clicked_events,
        max(case when clicked > clicked_events or human_clicked > human_clicked_events then 1 else 0 end) as is_wrong
    from links
    group by metric_date, copy_id

),

final as (

    select
        days.metric_date,
        days.copy_id
    from days
    left join summed
        on
            days.metric_date = summed.metric_date
            and days.copy_id = summed.copy_id
    where
        days.clicked_events != coalesce(summed.clicked_events, 0)
        or days.human_clicked_events != coalesce(summed.human_clicked_events, 0)
        or summed.is_wrong = 1

)

select * from final
