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

counted as (

    select
        attributes.template_id,
        attributes.segment_key,
        attributes.segment_value,
        count(distinct units.person_key) as people
    from attributes
    inner join units
        on
            attributes.template_id = units.template_id
            and attributes.attrs = units.attrs
    group by attributes.template_id, attributes.segment_key, attributes.segment_value

),

ranked as (

    select
        template_id,
        segment_key,
        segment_value,
        people,
        row_number() over (
            partition by template_id, segment_key
            order by people desc, segment_value
        ) as place
    from counted

),

final as (

    select
        template_id,
        segment_key,
        segment_value,
        case
            when place <= {{ var('max_segment_values') }} and people >= {{ var('min_segment_people') }}
                then segment_value
            else '(other)'
        end as shown_as
    from ranked

)

select * from final
