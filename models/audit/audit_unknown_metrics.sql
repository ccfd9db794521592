with

events as (

    select * from {{ ref('fct_engagement_events') }}
    where uncounted_reason is distinct from 'in_other_feed'

),

catalogue as (

    select * from {{ ref('engagement_metrics') }}

),

metric_names as (

    select distinct metric
    from catalogue

),

counted as (

    select
        channel,
        metric,
        count(*) as event_count,
        min(event_at) as first_event_at,
        max(event_at) as last_event_at
    from events
    group by channel, metric

),

final as (

    select
        counted.channel,
        counted.metric,
        case when metric_names.metric is null then 'unknown_metric' else 'unknown_pair' end as reason,
        counted.event_count,
        counted.first_event_at,
        counted.last_event_at
    from counted
    left join catalogue
        on
            counted.channel = catalogue.object_type
            and counted.metric = catalogue.metric
    left join metric_names
        on counted.metric = metric_names.metric
    where catalogue.metric is null

)

select * from final
