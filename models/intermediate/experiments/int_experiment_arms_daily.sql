{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_dates', 'on': {'unit_date': 'metric_date'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

{% set if_touched -%}
    {%- if is_incremental() -%}
    and unit_date in (select metric_date from {{ ref('int_touched_dates') }})
    {{- and_between('unit_date', 'int_touched_dates', 'metric_date') }}
    {%- endif -%}
{%- endset %}

with

outside_templates as (

    select template_id
    from {{ ref('int_experiment_templates') }}
    where control_split = 'outside'

),

delivery_arms as (

    select
        template_id,
        copy_id,
        unit_date,
        {{ unit_counts('outcomes') }}
    from {{ ref('int_delivery_units') }}
    where
        template_id not in (select template_id from outside_templates)
        {{ if_touched }}
    group by template_id, copy_id, unit_date

),

journey_arms as (

    select
        template_id,
        campaign_id,
        copy_id,
        unit_date,
        {{ unit_counts('outcomes') }}
    from {{ ref('int_journey_units') }}
    where
        true
        {{ if_touched }}
    group by template_id, campaign_id, copy_id, unit_date

),

{%- set counts = ['units', 'sent', 'reached'] %}
{%- for compared in compared_metrics() %}
    {%- do counts.extend([compared.metric, compared.metric ~ '_outside_trials']) %}
{%- endfor %}

final as (

    select
        'delivery' as unit_type,
        template_id,
        cast(null as {{ dbt.type_bigint() }}) as campaign_id,
        copy_id,
        unit_date,
        {{ counts | join(',\n        ') }}
    from delivery_arms

    union all

    select
        'journey' as unit_type,
        template_id,
        campaign_id,
        copy_id,
        unit_date,
        {{ counts | join(',\n        ') }}
    from journey_arms

)

select * from final
