{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['unit_date'],
    meta={'touched': [{'model': 'int_touched_dates', 'on': {'unit_date': 'metric_date'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

{% set if_touched -%}
    {%- if is_incremental() -%}
    and delivery_date in (select metric_date from {{ ref('int_touched_dates') }})
    {{- and_between('delivery_date', 'int_touched_dates', 'metric_date') }}
    {%- endif -%}
{%- endset %}

with

outcomes as (

    select
        delivery_key,
        {{ bit_or(outcome_bits()) }} as outcomes
    from {{ ref('fct_engagement_events') }}
    where
        counts
        and delivery_key is not null
        {{ if_touched }}
    group by delivery_key

),

final as (

    select
        deliveries.delivery_key as unit_key,
        deliveries.template_id,
        deliveries.copy_id,
        deliveries.content_hash,
        deliveries.delivery_date as unit_date,
        deliveries.last_called_at as started_at,
        {{ person_key('deliveries.user_id', 'deliveries.delivery_key') }} as person_key,
        cast(coalesce(outcomes.outcomes, 0) as {{ dbt.type_bigint() }}) as outcomes
    from {{ ref('fct_deliveries') }} as deliveries
    left join outcomes
        on deliveries.delivery_key = outcomes.delivery_key
    where
        true
        {{ if_touched }}

)

select * from final
{% if not is_incremental() -%}
-- in order of days, as later runs append: the rows that a day needs are then stored together
order by unit_date
{%- endif %}
