{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_dates', 'on': {'unit_date': 'metric_date'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

{# By content and not by version: a call that lands late may begin a version, and then days that it does not touch would
   belong to another one. #}
with

final as (

    select
        template_id,
        copy_id,
        content_hash,
        unit_date,
        max(started_at) as last_started_at,
        {{ unit_counts('outcomes') }}
    from {{ ref('int_delivery_units') }}
    {% if is_incremental() -%}
    where unit_date in (select metric_date from {{ ref('int_touched_dates') }})
    {{- and_between('unit_date', 'int_touched_dates', 'metric_date') }}
    {%- endif %}
    group by template_id, copy_id, content_hash, unit_date

)

select * from final
