{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_dates', 'on': {'metric_date': 'metric_date'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

control_copies as (

    select * from {{ ref('int_control_copies') }}

),

served as (

    select
        delivery_date as metric_date,
        copy_id,
        max(last_called_at) as last_called_at,
        count(*) as served,
        count(case when call_count = 1 then 1 end) as api_calls
    from {{ ref('fct_deliveries') }}
    {% if is_incremental() -%}
    where delivery_date in (select metric_date from {{ ref('int_touched_dates') }})
    {%- endif %}
    group by delivery_date, copy_id

),

-- the one call of most deliveries is counted where they are; the calls of the others may lie on other days, with
-- other copies
retried as (

    select
        delivery_key,
        last_called_at
    from {{ ref('fct_deliveries') }}
    where
        call_count > 1
        {% if is_incremental() -%}
        and delivery_date >= (select min(metric_date) from {{ ref('int_touched_dates') }})
        {%- endif %}

),

retries as (

    select
        calls.call_date as metric_date,
        calls.copy_id,
        calls.delivery_key,
        retried.last_called_at,
        count(*) as api_calls
    from {{ ref('int_distinct_calls') }} as calls
    inner join retried
        on calls.delivery_key = retried.delivery_key
    {% if is_incremental() -%}
    where calls.call_date in (select metric_date from {{ ref('int_touched_dates') }})
    {%- endif %}
    group by calls.call_date, calls.copy_id, calls.delivery_key, retried.last_called_at

),

called as (

    select
        metric_date,
        copy_id,
        max(last_called_at) as last_called_at,
        sum(api_calls) as api_calls
    from retries
    group by metric_date, copy_id

),

counted as (

    select
        metric_date,
        copy_id,
        counts_as,
        max(last_called_at) as last_called_at,
        {{ event_counts() }}
    from {{ ref('fct_engagement_events') }}
    where
        counts
        and delivery_key is not null
        {% if is_incremental() -%}
        and metric_date in (select metric_date from {{ ref('int_touched_dates') }})
        {%- endif %}
    group by metric_date, copy_id, counts_as

),

outcomes as (

    select
        metric_date,
        copy_id,
        max(last_called_at) as last_called_at,
        {{ metric_sums() }}
    from counted
    group by metric_date, copy_id

),

parts as (

    select
        metric_date,
        copy_id,
        last_called_at
    from served

    union all

    select
        metric_date,
        copy_id,
        last_called_at
    from called

    union all

    select
        metric_date,
        copy_id,
        last_called_at
    from outcomes

),

cells as (

    select
        metric_date,
        copy_id,
        max(last_called_at) as last_called_at
    from parts
    group by metric_date, copy_id

),

-- of all deliveries with a part in a cell those called last; a retry on the last day of a copy has the delivery itself
newest_keys as (

    select
        cells.metric_date,
        cells.copy_id,
        deliveries.delivery_key
    from {{ ref('fct_deliveries') }} as deliveries
    inner join cells
        on
            deliveries.delivery_date = cells.metric_date
            and deliveries.copy_id = cells.copy_id
            and deliveries.last_called_at = cells.last_called_at

    union all

    select
        cells.metric_date,
        cells.copy_id,
        retries.delivery_key
    from retries
    inner join cells
        on
            retries.metric_date = cells.metric_date
            and retries.copy_id = cells.copy_id
            and retries.last_called_at = cells.last_called_at

    union all

    select
        cells.metric_date,
        cells.copy_id,
        events.delivery_key
    from {{ ref('fct_engagement_events') }} as events
    inner join cells
        on
            events.metric_date = cells.metric_date
            and events.copy_id = cells.copy_id
            and events.last_called_at = cells.last_called_at
    where
        events.counts
        {% if is_incremental() -%}
        and events.metric_date in (select metric_date from {{ ref('int_touched_dates') }})
        {%- endif %}

),

newest as (

    select
        metric_date,
        copy_id,
        max(delivery_key) as delivery_key
    from newest_keys
    group by metric_date, copy_id

),

final as (

    select
        cells.metric_date,
        cells.copy_id,
        deliveries.template_id,
        deliveries.campaign_id,
        control_copies.copy_id is not null as is_control,
        cast(coalesce(served.api_calls, 0) + coalesce(called.api_calls, 0) as {{ dbt.type_bigint() }}) as api_calls,
        cast(coalesce(served.served, 0) as {{ dbt.type_bigint() }}) as served,
        {%- for metric in engagement_metrics() %}
        coalesce(outcomes.{{ metric }}, 0) as {{ metric }},
        coalesce(outcomes.{{ metric }}_events, 0) as {{ metric }}_events{{ ',' if not loop.last }}
        {%- endfor %}
    from cells
    inner join newest
        on
            cells.metric_date = newest.metric_date
            and cells.copy_id = newest.copy_id
    inner join {{ ref('fct_deliveries') }} as deliveries
        on
            newest.delivery_key = deliveries.delivery_key
            and cells.last_called_at = deliveries.last_called_at
    left join served
        on
            cells.metric_date = served.metric_date
            and cells.copy_id = served.copy_id
    left join called
        on
            cells.metric_date = called.metric_date
            and cells.copy_id = called.copy_id
    left join outcomes
        on
            cells.metric_date = outcomes.metric_date
            and cells.copy_id = outcomes.copy_id
    left join control_copies
        on cells.copy_id = control_copies.copy_id

)

select * from final
