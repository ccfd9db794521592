{# Of a touched date only the people who are touched on it are computed again, and everybody where a removed line does
   not say whose it was. #}
{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['metric_date'],
    meta={
        'touched': [
            {
                'model': 'int_touched_dates',
                'on': {'metric_date': 'metric_date'},
                'among': {'model': 'int_touched_everybody', 'since': {'metric_date': 'removed_since_date'}},
            },
            {'model': 'int_touched_people', 'on': {'identifier': 'identifier', 'metric_date': 'metric_date'}},
        ],
        'pieces': {'model': 'fct_engagement_events', 'by': 'metric_date', 'times': 6},
    }
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

{% set described = [
    'metric_date', 'channel', 'metric', 'is_machine', 'is_copy_sent', 'campaign_id', 'journey_id', 'subject', 'url_hash',
    'hour_of_day', 'copy_id', 'template_id',
] %}
{% set always_known = ['metric_date', 'is_copy_sent'] %}
{% set grain = ['identity_key'] + described %}
{# Who is touched on which day, and the days on which everybody is. #}
{% if is_incremental() %}
    {%- set is_everybodys_day -%}
            (
                metric_date >= (select min(removed_since_date) from {{ ref('int_touched_everybody') }})
                {{- and_between('metric_date', 'int_touched_everybody', 'removed_since_date', since=true) }}
            )
    {%- endset -%}
    {# a day of the marts may begin or end up to 14 hours beside the day in UTC #}
    {%- set around_touched_dates = all_of([
        'select ' ~ timestamp_to_unix(dbt.dateadd('day', -1, 'metric_date')) ~ ' as event_timestamp from '
            ~ ref('int_touched_dates'),
        'select ' ~ timestamp_to_unix(dbt.dateadd('day', 2, 'metric_date')) ~ ' as event_timestamp from '
            ~ ref('int_touched_dates'),
    ]) -%}
{% endif %}

{# What another feed counts is not counted twice. But the sync names people by cio_id alone: where it counts an event,
   that of the webhooks says which id and address are theirs. #}
{% set is_counted %}coalesce(uncounted_reason, '') != 'in_other_feed'{% endset %}
{% set is_read -%}
        ({{ is_counted }} or feed = 'webhooks')
        {{ and_in_piece() }}
        {%- if is_incremental() %}
        and metric_date in (select metric_date from {{ ref('int_touched_dates') }})
        {{- and_between('metric_date', 'int_touched_dates', 'metric_date') }}
        {%- endif %}
{%- endset %}

with

events as (

    select
        feed,
        event_id,
        event_date,
        {{ timestamp_to_unix('event_at') }} as event_timestamp,
        event_at,
        metric_date,
        channel,
        metric,
        delivery_id,
        journey_id,
        campaign_id,
        href,
        is_machine,
        delivery_key,
        delivery_date,
        copy_id,
        {{ is_counted }} as is_counted,
        coalesce(copy_id is not null and counts_as = 'sent' and is_first, false) as is_copy_sent
    {% if is_incremental() -%}
    -- an event of the sync has no user_id of its own
    from {{ rows_of_any(ref('fct_engagement_events'), 'counted', [
        "feed = 'sync'",
        'user_id is null',
        {
            'on': {identifier_of('customer_id', 'user_id'): 'identifier', 'metric_date': 'metric_date'},
            'of': ref('int_touched_people'),
        },
        is_everybodys_day,
    ], is_read) }}
    {%- else -%}
    from {{ ref('fct_engagement_events') }}
    where
        {{ is_read }}
    {%- endif %}

),

-- only these lines are parsed
landed as (

    select lines.*
    from {{ source('customerio', 'customerio_events') }} as lines
    inner join events
        on
            lines.event_id = events.event_id
            and lines.timestamp = events.event_timestamp
            {%- if is_incremental() %}
                {{- and_between('lines.timestamp', around_touched_dates, 'event_timestamp') }}
            {%- endif %}

),

{{ latest_lines() }},

{{ events_of_lines('latest_lines', 'details') }},

{% set is_of_event %}delivery_id in (select delivery_id from events where feed = 'sync'){% endset %}
{{ latest_sync_rows('customerio_deliveries', ['delivery_id'], is_of_event, 'deliveries', known=true) }},

{{ latest_sync_rows('customerio_delivery_content', ['delivery_id'], is_of_event, 'contents', known=true) }},

sent_copies as (

    select
        events.delivery_key,
        max(calls.template_id) as template_id
    from events
    inner join {{ ref('fct_deliveries') }} as calls
        on
            events.delivery_key = calls.delivery_key
            and events.delivery_date = calls.delivery_date
    where events.is_copy_sent
    group by events.delivery_key

),

described as (

    select
        events.metric_date,
        events.event_at,
        events.channel,
        events.metric,
        events.is_machine,
        events.is_counted,
        events.is_copy_sent,
        events.campaign_id,
        events.journey_id,
        events.copy_id,
        sent_copies.template_id,
        coalesce(details.subject, contents.subject) as subject,
        md5({{ main_url('events.href') }}) as url_hash,
        {{ hour_of_day('events.event_at') }} as hour_of_day,
        details.user_id as customer_id,
        coalesce(details.cio_id, deliveries.internal_customer_id) as cio_id,
        {{ email_of_event('details.channel', 'details.email', 'details.email_address', 'details.recipient') }} as email
    from events
    left join details
        on
            events.event_id = details.event_id
            and events.event_timestamp = details.event_timestamp
    left join deliveries
        on
            events.feed = 'sync'
            and events.delivery_id = deliveries.delivery_id
    left join contents
        on
            events.feed = 'sync'
            and events.delivery_id = contents.delivery_id
    left join sent_copies
        on
            events.is_copy_sent
            and events.delivery_key = sent_copies.delivery_key

),

identified as (

    select
        {{ columns_of('described', always_known + ['event_at', 'is_counted', 'customer_id', 'cio_id', 'email']) }},
        {%- for column in described | reject('in', always_known) %}
        case when is_counted then {{ column }} end as {{ column }},
        {%- endfor %}
        {{ strongest_identifier('customer_id', 'cio_id', 'email') }} as identifier,
        {{ surrogate_key(['customer_id', 'cio_id', 'email']) }}
        || case when is_counted then '' else ':named' end as identity_key
    from described
    where coalesce(customer_id, cio_id, email) is not null

),

touched as (

    {% if is_incremental() -%}
    select identified.*
    from {{ rows_of_any('identified', 'identified', [
        {'on': {'identifier': 'identifier', 'metric_date': 'metric_date'}, 'of': ref('int_touched_people')},
        is_everybodys_day,
    ]) }}
    {%- else -%}
    select * from identified
    {%- endif %}

),

final as (

    select
        {{ grain | join(',\n        ') }},
        max(identifier) as identifier,
        max(customer_id) as customer_id,
        max(cio_id) as cio_id,
        max(email) as email,
        min(event_at) as first_event_at,
        max(event_at) as last_event_at,
        cast(count(case when is_counted then 1 end) as {{ dbt.type_bigint() }}) as events_counted
    from touched
    group by {{ grain | join(', ') }}

)

select * from final
