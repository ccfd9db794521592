{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['event_date'],
    meta={
        'touched': [{
            'model': 'int_touched_sync_events',
            'on': {'event_id': 'event_id', 'event_date': 'event_date'},
        }],
        'pieces': {
            'source': ['customerio_sync', 'customerio_metrics'],
            'by': 'substr(md5(event_id), 1, 2)',
            'on': {'event_id': 'metric_id'},
            'times': 2,
        },
    }
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

{% set is_read_metric -%}
    {{ any_piece() }}
        {%- if is_incremental() %}
        and event_id in (select metric_id from {{ ref('int_touched_sync_events') }})
        {{- and_between('event_id', 'int_touched_sync_events', 'metric_id') }}
        {%- endif %}
{%- endset %}
{{ latest_sync_rows('customerio_metrics', ['event_id'], is_read_metric, 'metrics', known=true) }},

{% set is_read_delivery -%}
    delivery_id in (select delivery_id from metrics)
        {%- if is_incremental() %}
            {{- and_between('delivery_id', 'int_touched_sync_events', 'delivery_id') }}
        {%- endif %}
{%- endset %}
{{ latest_sync_rows('customerio_deliveries', ['delivery_id'], is_read_delivery, 'deliveries', known=true) }},

{# a day must not read everybody #}
{% set is_of_delivery %}internal_customer_id in (select internal_customer_id from deliveries){% endset %}
{{ latest_sync_rows('customerio_people', ['internal_customer_id'], is_of_delivery, 'people', known=true) }},

webhook_metrics as (

    select distinct
        delivery_id,
        {{ metric_of_any_feed('metric') }} as compared_metric
    from {{ ref('int_distinct_events') }}
    where
        is_about_message
        and delivery_id in (select delivery_id from metrics)
        {%- if is_incremental() %}
            {{- and_between('delivery_id', 'int_touched_sync_events', 'delivery_id') }}
        {%- endif %}

),

webhook_messages as (

    select distinct delivery_id
    from webhook_metrics

),

joined as (

    select
        {{ sync_event_id('metrics.event_id') }} as event_id,
        {{ dbt.date_trunc('second', 'metrics.created_at') }} as event_at,
        {{ channel_of(plain_name('deliveries.delivery_type')) }} as channel,
        {{ plain_name('metrics.metric') }} as metric,
        metrics.delivery_id,
        deliveries.subject_id as journey_id,
        deliveries.action_id,
        -- of an API-triggered broadcast, the sync has the broadcast where the campaign would be; the webhooks have none
        case when deliveries.trigger_id is null then deliveries.campaign_id end as campaign_id,
        people.customer_id as user_id,
        metrics.link_url,
        metrics.prefetched as is_prefetched,
        metrics.machine as is_machine_click
    from metrics
    inner join deliveries
        on metrics.delivery_id = deliveries.delivery_id
    left join people
        on deliveries.internal_customer_id = people.internal_customer_id

),

judged as (

    select
        event_id,
        event_at,
        coalesce(channel, 'unknown') as channel,
        coalesce(metric, 'unknown') as metric,
        delivery_id,
        journey_id,
        action_id,
        campaign_id,
        user_id,
        link_url,
        is_prefetched,
        is_machine_click,
        {{ is_about_message('channel', 'delivery_id') }} as is_about_message
    from joined

),

final as (

    select
        judged.event_id,
        cast(judged.event_at as date) as event_date,
        {{ timestamp_to_unix('judged.event_at') }} as event_timestamp,
        judged.event_at,
        judged.channel,
        judged.metric,
        judged.delivery_id,
        judged.journey_id,
        judged.action_id,
        cast(null as {{ dbt.type_bigint() }}) as parent_action_id,
        judged.campaign_id,
        judged.user_id,
        case when judged.metric = 'clicked' then judged.link_url end as href,
        cast(null as decimal(18, 4)) as conversion_value,
        judged.is_prefetched,
        cast(null as boolean) as is_synthetic,
        judged.is_machine_click,
        judged.is_about_message,
        judged.is_about_message and webhook_messages.delivery_id is not null as is_message_in_webhooks,
        judged.is_about_message and webhook_metrics.delivery_id is not null as is_metric_in_webhooks
    from judged
    left join webhook_messages
        on judged.delivery_id = webhook_messages.delivery_id
    left join webhook_metrics
        on
            judged.delivery_id = webhook_metrics.delivery_id
            and {{ metric_of_any_feed('judged.metric') }} = webhook_metrics.compared_metric

)

select * from final
