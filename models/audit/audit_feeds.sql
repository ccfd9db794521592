with

sync_events as (

    select * from {{ ref('int_sync_events') }}
    where is_about_message

),

metrics as (

    select * from {{ ref('stg_customerio__metrics') }}

),

deliveries as (

    select * from {{ ref('stg_customerio__deliveries') }}

),

apart_days as (

    select * from {{ ref('int_apart_days') }}

),

of_sync as (

    select distinct
        event_date,
        {{ metric_of_any_feed('metric') }} as metric,
        delivery_id
    from sync_events

),

-- without its type, a delivery may be a message or the call of a webhook
waiting as (

    select
        cast(metrics.event_at as date) as event_date,
        {{ metric_of_any_feed('metrics.metric') }} as metric,
        count(*) as waiting_metrics
    from metrics
    left join deliveries
        on metrics.delivery_id = deliveries.delivery_id
    where deliveries.channel is null
    group by cast(metrics.event_at as date), {{ metric_of_any_feed('metrics.metric') }}

),

sync_days as (

    select event_date
    from of_sync

    union all

    select event_date
    from waiting

),

-- days on which the sync has events: elsewhere there is nothing to compare
of_webhooks as (

    select distinct
        event_date,
        {{ metric_of_any_feed('metric') }} as metric,
        delivery_id
    from {{ ref('int_distinct_events') }}
    where
        is_about_message
        and event_date in (select event_date from sync_days)

),

compared as (

    select
        coalesce(of_webhooks.event_date, of_sync.event_date) as event_date,
        coalesce(of_webhooks.metric, of_sync.metric) as metric,
        of_webhooks.delivery_id as webhook_delivery_id,
        of_sync.delivery_id as sync_delivery_id
    from of_webhooks
    full outer join of_sync
        on
            of_webhooks.event_date = of_sync.event_date
            and of_webhooks.metric = of_sync.metric
            and of_webhooks.delivery_id = of_sync.delivery_id

),

counted as (

    select
        event_date,
        metric,
        count(webhook_delivery_id) as webhook_deliveries,
        count(sync_delivery_id) as sync_deliveries,
        count(case when webhook_delivery_id = sync_delivery_id then 1 end) as shared_deliveries
    from compared
    group by event_date, metric

),

joined as (

    select
        coalesce(counted.event_date, waiting.event_date) as event_date,
        coalesce(counted.metric, waiting.metric) as metric,
        coalesce(counted.webhook_deliveries, 0) as webhook_deliveries,
        coalesce(counted.sync_deliveries, 0) as sync_deliveries,
        coalesce(counted.shared_deliveries, 0) as shared_deliveries,
        coalesce(counted.webhook_deliveries - counted.shared_deliveries, 0) as only_webhook_deliveries,
        coalesce(counted.sync_deliveries - counted.shared_deliveries, 0) as only_sync_deliveries,
        -- of the smaller feed, because either may begin within the day
        cast(counted.shared_deliveries as double)
        / nullif(least(counted.webhook_deliveries, counted.sync_deliveries), 0) as shared_share,
        coalesce(waiting.waiting_metrics, 0) as waiting_metrics
    from counted
    full outer join waiting
        on
            counted.event_date = waiting.event_date
            and counted.metric = waiting.metric

),

final as (

    select
        joined.event_date,
        joined.metric,
        joined.webhook_deliveries,
        joined.sync_deliveries,
        joined.shared_deliveries,
        joined.only_webhook_deliveries,
        joined.only_sync_deliveries,
        joined.shared_share,
        joined.waiting_metrics,
        apart_days.event_date is not null as is_first_feed_alone
    from joined
    left join apart_days
        on joined.event_date = apart_days.event_date

)

select * from final
