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

-- equal attributes are read once
distinct_attrs as (

    select distinct
        template_id,
        attrs
    from units

),

members as (

    {{ json_members('distinct_attrs', ['template_id', 'attrs'], 'attrs') }}

),

segment_keys as (

    select distinct
        template_id,
        member_key
    from members
    {%- if var('segment_keys') != 'auto' %}
    where member_key in ({{ quoted_list(var('segment_keys')) }})
    {%- endif %}

),

final as (

    select
        distinct_attrs.template_id,
        distinct_attrs.attrs,
        segment_keys.member_key as segment_key,
        coalesce(members.member_value, '(none)') as segment_value
    from distinct_attrs
    inner join segment_keys
        on distinct_attrs.template_id = segment_keys.template_id
    left join members
        on
            distinct_attrs.template_id = members.template_id
            and distinct_attrs.attrs = members.attrs
            and segment_keys.member_key = members.member_key

)

select * from final
