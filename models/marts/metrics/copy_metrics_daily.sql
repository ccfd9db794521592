with

calls as (

    select * from {{ ref('int_distinct_calls') }}

),

deliveries as (

    select * from {{ ref('fct_deliveries') }}

),

events as (

    select * from {{ ref('fct_engagement_events') }}

),

outcomes as (

    select * from {{ ref('int_delivery_outcomes') }}

),

template_settings as (

    select * from {{ ref('template_settings') }}

),

control_copies as (

    select distinct lower(control_copy_id) as copy_id
    from template_settings
    where control_copy_id is not null

),

-- every way a delivery has a part in a cell, as delivery and day
calls_by_delivery as (

    select
        call_date as metric_date,
        copy_id,
        delivery_key,
        count(*) as api_calls
    from calls
    group by call_date, copy_id, delivery_key

),

events_by_delivery as (

    select
        {{ reporting_date('event_at') }} as metric_date,
        copy_id,
        delivery_key,
        {%- for metric in engagement_metrics() %}
        count(case when {{ is_metric(metric) }} then 1 end) as {{ metric }}_events{{ ',' if not loop.last }}
        {%- endfor %}
    from events
    where
        counts
        and delivery_key is not null
    group by {{ reporting_date('event_at') }}, copy_id, delivery_key

),

parts as (

    select
        delivery_date as metric_date,
        copy_id,
        delivery_key,
        0 as api_calls,
        1 as served,
        {%- for metric in engagement_metrics() %}
        0 as {{ metric }},
        0 as {{ metric }}_events{{ ',' if not loop.last }}
        {%- endfor %}
    from deliveries

    union all

    select
        metric_date,
        copy_id,
        delivery_key,
        api_calls,
        0 as served,
        {%- for metric in engagement_metrics() %}
        0 as {{ metric }},
        0 as {{ metric }}_events{{ ',' if not loop.last }}
        {%- endfor %}
    from calls_by_delivery

    union all

    select
        events_by_delivery.metric_date,
        events_by_delivery.copy_id,
        events_by_delivery.delivery_key,
        0 as api_calls,
        0 as served,
        {%- for metric in engagement_metrics() %}
        case when outcomes.first_{{ metric }}_date = events_by_delivery.metric_date then 1 else 0 end as {{ metric }},
        events_by_delivery.{{ metric }}_events{{ ',' if not loop.last }}
        {%- endfor %}
    from events_by_delivery
    inner join outcomes
        on events_by_delivery.delivery_key = outcomes.delivery_key

),

cells as (

    select
        parts.metric_date,
        parts.copy_id,
        max(
            {{ ordered_key(timestamp_to_unix('deliveries.last_called_at'), 'deliveries.delivery_key') }}
        ) as newest_delivery,
        cast(sum(parts.api_calls) as {{ dbt.type_bigint() }}) as api_calls,
        cast(sum(parts.served) as {{ dbt.type_bigint() }}) as served,
        {%- for metric in engagement_metrics() %}
        cast(sum(parts.{{ metric }}) as {{ dbt.type_bigint() }}) as {{ metric }},
        cast(sum(parts.{{ metric }}_events) as {{ dbt.type_bigint() }}) as {{ metric }}_events{{ ',' if not loop.last }}
        {%- endfor %}
    from parts
    inner join deliveries
        on parts.delivery_key = deliveries.delivery_key
    group by parts.metric_date, parts.copy_id

),

final as (

    select
        cells.metric_date,
        cells.copy_id,
        deliveries.template_id,
        deliveries.campaign_id,
        control_copies.copy_id is not null as is_control,
        cells.api_calls,
        cells.served,
        {%- for metric in engagement_metrics() %}
        cells.{{ metric }},
        cells.{{ metric }}_events{{ ',' if not loop.last }}
        {%- endfor %}
    from cells
    inner join deliveries
        on {{ key_of('cells.newest_delivery') }} = deliveries.delivery_key
    left join control_copies
        on cells.copy_id = control_copies.copy_id

)

select * from final
