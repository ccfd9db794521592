{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_templates', 'on': {'template_id': 'template_id'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

with

units as (

    select * from {{ ref('int_segment_units') }}
    {% if is_incremental() -%}
    where
        template_id in (select template_id from {{ ref('int_touched_templates') }})
        {{- and_between('template_id', 'int_touched_templates', 'template_id') }}
    {%- endif %}

),

attributes as (

    select * from {{ ref('int_segment_attributes') }}

),

segments as (

    select * from {{ ref('int_segments') }}

),

shown as (

    select
        attributes.template_id,
        attributes.attrs,
        attributes.segment_key,
        segments.shown_as as segment_value
    from attributes
    inner join segments
        on
            attributes.template_id = segments.template_id
            and attributes.segment_key = segments.segment_key
            and attributes.segment_value = segments.segment_value

),

final as (

    select
        units.template_id,
        units.arm,
        units.metric,
        shown.segment_key,
        shown.segment_value,
        units.unit_date,
        cast(count(*) as {{ dbt.type_bigint() }}) as trials,
        cast(sum(units.is_success) as {{ dbt.type_bigint() }}) as successes
    from units
    inner join shown
        on
            units.template_id = shown.template_id
            and units.attrs = shown.attrs
    group by
        units.template_id, units.arm, units.metric, shown.segment_key, shown.segment_value, units.unit_date

)

select * from final
