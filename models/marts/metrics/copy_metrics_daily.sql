{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_dates', 'on': {'metric_date': 'metric_date'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

with

control_copies as (

    select * from {{ ref('int_control_copies') }}

),

calls as (

    select * from {{ ref('int_copy_calls_daily') }}
    {% if is_incremental() -%}
    where metric_date in (select metric_date from {{ ref('int_touched_dates') }})
    {{- and_between('metric_date', 'int_touched_dates', 'metric_date') }}
    {%- endif %}

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
        {{- and_between('metric_date', 'int_touched_dates', 'metric_date') }}
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

-- of the deliveries with an event in a cell, the ones called last
newest as (

    select
        outcomes.metric_date,
        outcomes.copy_id,
        max(events.delivery_key) as delivery_key
    from {{ ref('fct_engagement_events') }} as events
    inner join outcomes
        on
            events.metric_date = outcomes.metric_date
            and events.copy_id = outcomes.copy_id
            and events.last_called_at = outcomes.last_called_at
    where
        events.counts
        {% if is_incremental() -%}
        and events.metric_date in (select metric_date from {{ ref('int_touched_dates') }})
        {{- and_between('events.metric_date', 'int_touched_dates', 'metric_date') }}
        {%- endif %}
    group by outcomes.metric_date, outcomes.copy_id

),

deliveries_of_cells as (

    select
        metric_date,
        copy_id,
        last_called_at,
        newest_delivery_key as delivery_key
    from calls

    union all

    select
        outcomes.metric_date,
        outcomes.copy_id,
        outcomes.last_called_at,
        newest.delivery_key
    from outcomes
    inner join newest
        on
            outcomes.metric_date = newest.metric_date
            and outcomes.copy_id = newest.copy_id

),

ranked as (

    select
        metric_date,
        copy_id,
        last_called_at,
        delivery_key,
        row_number() over (
            partition by metric_date, copy_id
            order by last_called_at desc, delivery_key desc
        ) as preference
    from deliveries_of_cells

),

-- of all deliveries that count in a cell, the one called last, then the one with the greatest key, gives its template
cells as (

    select
        metric_date,
        copy_id,
        last_called_at,
        delivery_key
    from ranked
    where preference = 1

),

final as (

    select
        cells.metric_date,
        cells.copy_id,
        deliveries.template_id,
        deliveries.campaign_id,
        control_copies.copy_id is not null as is_control,
        coalesce(calls.api_calls, 0) as api_calls,
        coalesce(calls.served, 0) as served,
        {%- for metric in engagement_metrics() %}
        coalesce(outcomes.{{ metric }}, 0) as {{ metric }},
        coalesce(outcomes.{{ metric }}_events, 0) as {{ metric }}_events,
        {%- endfor %}
        coalesce(outcomes.conversion_value, 0) as conversion_value
    from cells
    inner join {{ ref('fct_deliveries') }} as deliveries
        on
            cells.delivery_key = deliveries.delivery_key
            and cells.last_called_at = deliveries.last_called_at
    left join calls
        on
            cells.metric_date = calls.metric_date
            and cells.copy_id = calls.copy_id
    left join outcomes
        on
            cells.metric_date = outcomes.metric_date
            and cells.copy_id = outcomes.copy_id
    left join control_copies
        on cells.copy_id = control_copies.copy_id

)

select * from final
