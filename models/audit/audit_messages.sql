{# A view on both engines: it reads all messages of both feeds, which a daily build must not. #}
{{ config(materialized='view') }}

{% set metrics = engagement_metrics() | select('in', message_metrics()) | list %}

{# the API may say suppressed where the webhooks say dropped #}
{% set api_times = {'dropped': 'coalesce(messages.dropped_at, messages.suppressed_at)'} -%}

with

messages as (

    select * from {{ ref('fct_messages') }}
    where coalesce(channel, '') != 'webhook'

),

events as (

    select * from {{ ref('fct_engagement_events') }}

),

-- what the API was not asked for cannot be missing there, whenever it was opened
covered as (

    select
        channel,
        min(created_at) as first_created_at,
        max(created_at) as last_created_at
    from messages
    group by channel

),

event_messages as (

    select
        events.delivery_id,
        min(events.channel) as channel,
        max(events.campaign_id) as campaign_id,
        min(events.event_at) as first_event_at,
        {%- for metric in metrics %}
        max(case when {{ is_metric(metric) }} then 1 else 0 end) as {{ metric }}{{ ',' if not loop.last }}
        {%- endfor %}
    from events
    inner join covered
        on events.channel = covered.channel
    group by events.delivery_id

),

both_feeds as (

    select
        messages.campaign_id,
        coalesce(
            messages.created_date, {{ reporting_date('event_messages.first_event_at') }}
        ) as created_date,
        {%- for metric in metrics %}
        case
            when {{ api_times.get(metric, 'messages.' ~ metric ~ '_at') }} is not null then 1
            else 0
        end as {{ metric }}_api,
        coalesce(event_messages.{{ metric }}, 0) as {{ metric }}_event{{ ',' if not loop.last }}
        {%- endfor %}
    from messages
    left join event_messages
        on messages.delivery_id = event_messages.delivery_id

    union all

    select
        event_messages.campaign_id,
        {{ reporting_date('event_messages.first_event_at') }} as created_date,
        {%- for metric in metrics %}
        0 as {{ metric }}_api,
        event_messages.{{ metric }} as {{ metric }}_event{{ ',' if not loop.last }}
        {%- endfor %}
    from event_messages
    inner join covered
        on
            event_messages.channel = covered.channel
            and event_messages.first_event_at between covered.first_created_at and covered.last_created_at
    where event_messages.delivery_id not in (select messages.delivery_id from messages)

),

daily as (

    select
        campaign_id,
        created_date,
        {%- for metric in metrics %}
        sum({{ metric }}_api) as {{ metric }}_api,
        sum({{ metric }}_event) as {{ metric }}_event,
        sum({{ metric }}_api * {{ metric }}_event) as {{ metric }}_both{{ ',' if not loop.last }}
        {%- endfor %}
    from both_feeds
    where created_date is not null
    group by campaign_id, created_date

),

-- the last day of either feed is not over
bounds as (

    select
        (select max({{ reporting_date('covered.last_created_at') }}) from covered) as last_created_date,
        (select max(events.metric_date) from events) as last_event_date

),

counted as (

    {% for metric in metrics -%}
    select
        campaign_id,
        created_date,
        '{{ metric }}' as metric,
        {{ metric }}_api as api_count,
        {{ metric }}_event as event_count,
        {{ metric }}_both as both_count
    from daily
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

final as (

    select
        counted.campaign_id,
        counted.created_date,
        counted.metric,
        cast(counted.api_count as {{ dbt.type_bigint() }}) as api_count,
        cast(counted.event_count as {{ dbt.type_bigint() }}) as event_count,
        cast(counted.api_count - counted.both_count as {{ dbt.type_bigint() }}) as api_only_count,
        cast(counted.event_count - counted.both_count as {{ dbt.type_bigint() }}) as event_only_count,
        coalesce(
            counted.created_date < bounds.last_created_date and counted.created_date < bounds.last_event_date, false
        ) as is_settled,
        cast(counted.api_count - counted.both_count as double) / nullif(counted.api_count, 0) as missing_share
    from counted
    cross join bounds
    where counted.api_count + counted.event_count > 0

)

select * from final
