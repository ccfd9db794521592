{{ config(materialized='view') }}

{% set feeds = engagement_feeds() %}
{% set of_event = [
    'event_id', 'event_date', 'event_timestamp', 'event_at', 'channel', 'metric', 'delivery_id', 'journey_id', 'action_id',
    'parent_action_id', 'campaign_id', 'user_id', 'href', 'conversion_value', 'is_about_message',
] %}
{# The sync has no is_synthetic. #}
{% set flags_of_sync = ['is_prefetched', 'is_machine_click'] %}
{% set flags_of_webhooks = ['is_synthetic', 'is_prefetched', 'is_machine_click'] %}

with

apart_days as (

    select * from {{ ref('int_apart_days') }}
    {%- if feeds | length == 1 %}
    where false
    {%- endif %}

),

webhook_events as (

    select * from {{ ref('int_distinct_events') }}
    {%- if 'webhooks' not in feeds %}
    where false
    {%- endif %}

),

sync_events as (

    select * from {{ ref('int_sync_events') }}
    {%- if 'sync' not in feeds %}
    where false
    {%- endif %}

),

-- messages of the later feed on days on which the two share too few: it counts none of them
left_out as (

    select distinct delivery_id
    from {{ 'webhook_events' if feeds[-1] == 'webhooks' else 'sync_events' }}
    where
        is_about_message
        and metric = 'sent'
        and event_date in (select event_date from apart_days)

),

sync_metrics as (

    {{ agreed_flags('sync_events', flags_of_sync) }}

),

{% if feeds[0] == 'sync' -%}
synced_messages as (

    select distinct delivery_id
    from sync_metrics

),

webhook_metrics as (

    {{ agreed_flags('webhook_events', flags_of_webhooks) }}

),

{% endif -%}
-- joined, because Snowflake has no `in (select …)` but in a condition
webhooks as (

    select
        'webhooks' as feed,
        {{ columns_of('webhook_events', of_event) }},
        webhook_events.is_synthetic,
        {%- for flag in flags_of_sync %}
        coalesce(webhook_events.{{ flag }}, sync_metrics.{{ flag }}) as {{ flag }},
        {%- endfor %}
        {%- if feeds[0] == 'webhooks' %}
        true as is_of_first_feed,
        false as is_in_earlier_feed
        {%- else %}
        synced_messages.delivery_id is null as is_of_first_feed,
        sync_metrics.delivery_id is not null or left_out.delivery_id is not null as is_in_earlier_feed
        {%- endif %}
    from webhook_events
    left join sync_metrics
        on
            webhook_events.delivery_id = sync_metrics.delivery_id
            and {{ metric_of_any_feed('webhook_events.metric') }} = sync_metrics.compared_metric
    {%- if feeds[0] == 'sync' %}
    left join synced_messages
        on webhook_events.delivery_id = synced_messages.delivery_id
    left join left_out
        on webhook_events.delivery_id = left_out.delivery_id
    {%- endif %}

),

syncs as (

    select
        'sync' as feed,
        {{ columns_of('sync_events', of_event) }},
        {%- for flag in flags_of_webhooks %}
        {%- if feeds[0] == 'webhooks' %}
        sync_events.{{ flag }},
        {%- else %}
        coalesce(sync_events.{{ flag }}, webhook_metrics.{{ flag }}) as {{ flag }},
        {%- endif %}
        {%- endfor %}
        {%- if feeds[0] == 'webhooks' %}
        not sync_events.is_message_in_webhooks as is_of_first_feed,
        sync_events.is_metric_in_webhooks or left_out.delivery_id is not null as is_in_earlier_feed
        {%- else %}
        true as is_of_first_feed,
        false as is_in_earlier_feed
        {%- endif %}
    from sync_events
    {%- if feeds[0] == 'webhooks' %}
    left join left_out
        on sync_events.delivery_id = left_out.delivery_id
    {%- else %}
    left join webhook_metrics
        on
            sync_events.delivery_id = webhook_metrics.delivery_id
            and {{ metric_of_any_feed('sync_events.metric') }} = webhook_metrics.compared_metric
    {%- endif %}

),

final as (

    select * from webhooks

    union all

    select * from syncs

)

select * from final
