{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_dates', 'on': {'metric_date': 'metric_date'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

with

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
    {{- and_between('delivery_date', 'int_touched_dates', 'metric_date') }}
    {%- endif %}
    group by delivery_date, copy_id

),

-- most deliveries have one call, which counts on their day; the calls of the others may be on other days and of other
-- copies
retried as (

    select
        delivery_key,
        last_called_at
    from {{ ref('fct_deliveries') }}
    where
        call_count > 1
        {% if is_incremental() -%}
        and delivery_date >= (select min(metric_date) from {{ ref('int_touched_dates') }})
        {{- and_between('delivery_date', 'int_touched_dates', 'metric_date', since=true) }}
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
    {{- and_between('calls.call_date', 'int_touched_dates', 'metric_date') }}
    {%- endif %}
    group by calls.call_date, calls.copy_id, calls.delivery_key, retried.last_called_at

),

other_calls as (

    select
        metric_date,
        copy_id,
        max(last_called_at) as last_called_at,
        sum(api_calls) as api_calls
    from retries
    group by metric_date, copy_id

),

counts as (

    select
        metric_date,
        copy_id,
        served,
        api_calls,
        last_called_at
    from served

    union all

    select
        metric_date,
        copy_id,
        0 as served,
        api_calls,
        last_called_at
    from other_calls

),

cells as (

    select
        metric_date,
        copy_id,
        sum(served) as served,
        sum(api_calls) as api_calls,
        max(last_called_at) as last_called_at
    from counts
    group by metric_date, copy_id

),

-- of all deliveries that count in a cell, those called last; a retry on the last day of a copy is found through its
-- delivery
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
        cast(cells.served as {{ dbt.type_bigint() }}) as served,
        cast(cells.api_calls as {{ dbt.type_bigint() }}) as api_calls,
        cells.last_called_at,
        newest.delivery_key as newest_delivery_key
    from cells
    inner join newest
        on
            cells.metric_date = newest.metric_date
            and cells.copy_id = newest.copy_id

)

select * from final
