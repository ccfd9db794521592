{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_dates', 'on': {'delivery_date': 'metric_date'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

{% set if_touched -%}
    {%- if is_incremental() -%}
    and delivery_date in (select metric_date from {{ ref('int_touched_dates') }})
    {{- and_between('delivery_date', 'int_touched_dates', 'metric_date') }}
    {%- endif -%}
{%- endset %}

with

control_templates as (

    select * from {{ ref('int_control_templates') }}

),

-- a template may be the control of several
control_deliveries as (

    select
        deliveries.delivery_key,
        deliveries.delivery_date,
        control_templates.template_id
    from {{ ref('fct_deliveries') }} as deliveries
    inner join control_templates
        on deliveries.template_id = control_templates.control_template_id
    where
        true
        {{ if_touched }}

),

-- without these dates, DuckDB builds its hash table on the events instead of the deliveries: 1.6 s a day at 10 M calls,
-- also where no template is a control
dates_of_control_deliveries as (

    select distinct delivery_date
    from control_deliveries

),

-- messages that JustAI never saw, and deliveries of a template that is the control of another one
events as (

    select
        delivery_date,
        control_template_id as template_id,
        counts_as,
        conversion_value,
        is_machine,
        is_first,
        is_first_human,
        is_first_reached
    from {{ ref('fct_engagement_events') }}
    where
        counts
        and control_template_id is not null
        {{ if_touched }}

    union all

    select
        delivered.delivery_date,
        control_deliveries.template_id,
        delivered.counts_as,
        delivered.conversion_value,
        delivered.is_machine,
        delivered.is_first,
        delivered.is_first_human,
        delivered.is_first_reached
    from {{ ref('fct_engagement_events') }} as delivered
    inner join control_deliveries
        on delivered.delivery_key = control_deliveries.delivery_key
    where
        delivered.counts
        and delivered.delivery_date in (select delivery_date from dates_of_control_deliveries)
        {% if is_incremental() -%}
        {{- and_between('delivered.delivery_date', 'int_touched_dates', 'metric_date') }}
        {%- endif %}

),

counted as (

    select
        delivery_date,
        template_id,
        counts_as,
        {{ event_counts() }}
    from events
    group by delivery_date, template_id, counts_as

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
