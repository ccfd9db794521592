{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_dates', 'on': {'delivery_date': 'metric_date'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

with

events as (

    select * from {{ ref('fct_engagement_events') }}
    where
        counts
        and control_template_id is not null
        {% if is_incremental() -%}
        and delivery_date in (select metric_date from {{ ref('int_touched_dates') }})
        {%- endif %}

),

counted as (

    select
        delivery_date,
        control_template_id as template_id,
        counts_as,
        {{ event_counts() }}
    from events
    group by delivery_date, control_template_id, counts_as

),

summed as (

    select
        delivery_date,
        template_id,
        {{ metric_sums() }}
    from counted
    group by delivery_date, template_id

),

final as (

    select
        delivery_date,
        template_id,
        {% for metric in engagement_metrics() -%}
        {{ metric }},
        {{ metric }}_events,
        {% endfor -%}
        reached,
        conversion_value,
        {{ outcome_rates() }}
    from summed

)

select * from final
