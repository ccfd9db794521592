{# A log, as int_settings_changes is one of the templates' settings: a day is logged when it becomes one on which the
   feeds share under half of the smaller one's sent messages, or ceases to be one. A table of days could not say what a
   build that broke off has not read yet; a row of this one is of a batch that is pending until all models have. Only days
   are counted again of which events arrived; a full refresh counts all and keeps the log. #}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false,
    meta={'records_batches': true}
) }}
{% if not execute %}-- depends_on: {{ source('justai', 'landed_batches') }}{% endif %}

{% set is_of_arrivals = is_incremental() and not flags.FULL_REFRESH %}

{% set arrived_dates = all_of([
    'select event_date from ' ~ ref('int_touched_events'),
    'select event_date from ' ~ ref('int_touched_sync_events'),
]) %}

with

batches as (

    select * from {{ ref('int_landed_batches') }}

),

consumed as (

    select batch_id
    from {{ source('copymart', 'consumed_batches') }}
    where model = 'int_feed_day_changes'

),

{% if is_incremental() -%}
logged as (

    select
        event_date,
        change_number,
        is_apart
    from {{ this }}

),

arrived_days as (

    select event_date from {{ ref('int_touched_events') }}

    union

    select event_date from {{ ref('int_touched_sync_events') }}

),
{%- else -%}
logged as (

    select
        cast(null as date) as event_date,
        0 as change_number,
        false as is_apart
    from batches
    where false

),
{%- endif %}

of_sync as (

    select distinct
        event_date,
        delivery_id
    from {{ ref('int_sync_events') }}
    where
        is_about_message
        and metric = 'sent'
        {% if is_of_arrivals -%}
        and event_date in (select event_date from arrived_days)
        {{- and_between('event_date', arrived_dates, 'event_date') }}
        {%- endif %}

),

of_webhooks as (

    select distinct
        event_date,
        delivery_id
    from {{ ref('int_distinct_events') }}
    where
        is_about_message
        and metric = 'sent'
        and event_date in (select event_date from of_sync)
        {%- if is_of_arrivals %}
            {{- and_between('event_date', arrived_dates, 'event_date') }}
        {%- endif %}

),

apart as (

    select coalesce(of_sync.event_date, of_webhooks.event_date) as event_date
    from of_sync
    full outer join of_webhooks
        on
            of_sync.event_date = of_webhooks.event_date
            and of_sync.delivery_id = of_webhooks.delivery_id
    group by coalesce(of_sync.event_date, of_webhooks.event_date)
    having
        2 * count(case when of_sync.delivery_id = of_webhooks.delivery_id then 1 end)
        < least(count(of_sync.delivery_id), count(of_webhooks.delivery_id))

),

ranked as (

    select
        event_date,
        is_apart,
        row_number() over (partition by event_date order by change_number desc) as recency
    from logged

),

logged_apart as (

    select event_date
    from ranked
    where
        recency = 1
        and is_apart
        {% if is_of_arrivals -%}
        and event_date in (select event_date from arrived_days)
        {%- endif %}

),

changed as (

    select
        coalesce(apart.event_date, logged_apart.event_date) as event_date,
        apart.event_date is not null as is_apart
    from apart
    full outer join logged_apart
        on apart.event_date = logged_apart.event_date
    where apart.event_date is null or logged_apart.event_date is null

),

numbers as (

    select coalesce(max(change_number), 0) + 1 as change_number
    from logged

),

-- what may have changed a day; a full refresh may be of this model alone
unread_batches as (

    select batch_id
    {% if flags.FULL_REFRESH and this is not none -%}
    from {{ source('justai', 'landed_batches') }}
    where dataset != 'customerio_api'
    {%- else -%}
    from batches
    where is_pending
    {%- endif %}

),

-- one that this model has not read, as then no model after it has either: one that they all have read is pending only
-- until some other model has
read_batches as (

    select
        coalesce(
            max(case when consumed.batch_id is null then unread_batches.batch_id end), max(unread_batches.batch_id)
        ) as batch_id
    from unread_batches
    left join consumed
        on unread_batches.batch_id = consumed.batch_id

),

final as (

    select
        read_batches.batch_id,
        changed.event_date,
        cast(numbers.change_number as {{ dbt.type_bigint() }}) as change_number,
        changed.is_apart
    from changed
    cross join numbers
    cross join read_batches

)

select * from final
