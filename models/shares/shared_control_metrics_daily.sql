{{ config(meta={'touched': [{'model': 'int_touched_dates', 'on': {'delivery_date': 'metric_date'}}]}) }}

with

controls as (

    select * from {{ ref('control_metrics_daily') }}

),

final as (

    select
        delivery_date,
        template_id,
        attempted,
        attempted_events,
        sent,
        sent_events,
        delivered,
        delivered_events,
        opened,
        opened_events,
        human_opened,
        human_opened_events,
        clicked,
        clicked_events,
        human_clicked,
        human_clicked_events,
        converted,
        converted_events,
        unsubscribed,
        unsubscribed_events,
        bounced,
        bounced_events,
        dropped,
        dropped_events,
        spammed,
        spammed_events,
        failed,
        failed_events,
        undeliverable,
        undeliverable_events,
        replied,
        replied_events,
        deferred,
        deferred_events,
        reached,
        delivery_rate,
        open_rate,
        human_open_rate,
        click_rate,
        human_click_rate,
        conversion_rate,
        unsubscribe_rate
    from controls

)

select * from final
