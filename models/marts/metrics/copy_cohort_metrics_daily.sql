{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_dates', 'on': {'delivery_date': 'metric_date'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

with

control_copies as (

    select * from {{ ref('int_control_copies') }}

),

served as (

    select
        delivery_date,
        copy_id,
        max(last_called_at) as last_called_at,
        cast(sum(call_count) as {{ dbt.type_bigint() }}) as api_calls,
        cast(count(*) as {{ dbt.type_bigint() }}) as served
    from {{ ref('fct_deliveries') }}
    {% if is_incremental() -%}
    where delivery_date in (select metric_date from {{ ref('int_touched_dates') }})
    {{- and_between('delivery_date', 'int_touched_dates', 'metric_date') }}
    {%- endif %}
    group by delivery_date, copy_id

),

-- of the deliveries called last in a cell, the one with the greatest key gives its template and campaign
newest as (

    select
        deliveries.delivery_date,
        deliveries.copy_id,
        deliveries.template_id,
        deliveries.campaign_id,
        row_number() over (
            partition by deliveries.delivery_date, deliveries.copy_id
            order by deliveries.delivery_key desc
        ) as preference
    from {{ ref('fct_deliveries') }} as deliveries
    inner join served
        on
            deliveries.delivery_date = served.delivery_date
            and deliveries.copy_id = served.copy_id
            and deliveries.last_called_at = served.last_called_at

),

counted as (

    select
        delivery_date,
        copy_id,
        counts_as,
        {{ event_counts() }}
    from {{ ref('fct_engagement_events') }}
    where
        counts
        and delivery_key is not null
        {% if is_incremental() -%}
        and delivery_date in (select metric_date from {{ ref('int_touched_dates') }})
        {{- and_between('delivery_date', 'int_touched_dates', 'metric_date') }}
        {%- endif %}
    group by delivery_date, copy_id, counts_as

),

outcomes as (

    select
        delivery_date,
        copy_id,
        {{ metric_sums() }}
    from counted
    group by delivery_date, copy_id

),

cells as (

    select
        served.delivery_date,
        served.copy_id,
        newest.template_id,
        newest.campaign_id,
        control_copies.copy_id is not null as is_control,
        served.api_calls,
        served.served,
        {%- for metric in engagement_metrics() %}
        coalesce(outcomes.{{ metric }}, 0) as {{ metric }},
        coalesce(outcomes.{{ metric }}_events, 0) as {{ metric }}_events,
        {%- endfor %}
        coalesce(outcomes.reached, 0) as reached,
        coalesce(outcomes.conversion_value, 0) as conversion_value
    from served
    inner join newest
        on
            served.delivery_date = newest.delivery_date
            and served.copy_id = newest.copy_id
            and newest.preference = 1
    left join outcomes
        on
            served.delivery_date = outcomes.delivery_date
            and served.copy_id = outcomes.copy_id
    left join control_copies
        on served.copy_id = control_copies.copy_id

),

final as (

    select
        delivery_date,
        copy_id,
        template_id,
        campaign_id,
        is_control,
        api_calls,
        served,
        {% for metric in engagement_metrics() -%}
        {{ metric }},
        {{ metric }}_events,
        {% endfor -%}
        reached,
        conversion_value,
        {{ outcome_rates() }}
    from cells

)

select * from final
