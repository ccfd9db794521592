{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_templates', 'on': {'template_id': 'template_id'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

{# Trials of templates with an inside control: an outside control has no attributes. What the var prefer_human decides
   is computed here, because `dbt build --full-refresh --select int_segment_units+` leaves the view above as it was. #}
with

templates as (

    select * from {{ ref('int_experiment_templates') }}
    where
        control_split = 'inside'
        and key_metric is not null
        {% if is_incremental() -%}
        and template_id in (select template_id from {{ ref('int_touched_templates') }})
        {{- and_between('template_id', 'int_touched_templates', 'template_id') }}
        {%- endif %}

),

arms_daily as (

    select * from {{ ref('int_experiment_arms_daily') }}

),

template_sizes as (

    select
        template_id,
        sum(units) as units
    from arms_daily
    group by template_id

),

-- five attributes of 10 M deliveries took 76 s, so a large template has only the attributes that its owner names
chosen as (

    select
        templates.template_id,
        templates.control_copy_id,
        {{ compared_metric('templates.named_metric') }} as key_metric
    from templates
    inner join template_sizes
        on templates.template_id = template_sizes.template_id
    {%- if var('segment_keys') == 'auto' %}
    where template_sizes.units < 1000000
    {%- endif %}

),

final as (

    select
        units.template_id,
        case when units.copy_id = chosen.control_copy_id then 'control' else units.copy_id end as arm,
        chosen.key_metric as metric,
        units.unit_date,
        units.person_key,
        deliveries.attrs,
        case when {{ is_success('units.outcomes', 'chosen.key_metric') }} then 1 else 0 end as is_success
    from {{ ref('int_delivery_units') }} as units
    inner join chosen
        on units.template_id = chosen.template_id
    inner join {{ ref('fct_deliveries') }} as deliveries
        on
            units.unit_key = deliveries.delivery_key
            and units.unit_date = deliveries.delivery_date
    where {{ is_trial('units.outcomes', 'chosen.key_metric') }}

)

select * from final
