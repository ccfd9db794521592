{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['unit_date'],
    meta={'touched': [
        {'model': 'int_touched_messages', 'on': {'journey_id': 'journey_id'}},
        {'model': 'int_touched_calls', 'on': {'started_at': 'called_at'}, 'only': 'journey_id is null'},
    ]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

{# All deliveries of a message are in its journeys, and all their dates are touched; a delivery without a journey has no
   message. #}
{% set deliveries = 'touched_deliveries' if is_incremental() else ref('fct_deliveries') %}
{% set on_touched_date -%}
    {%- if is_incremental() -%}
    delivery_date in (select metric_date from {{ ref('int_touched_dates') }})
        {{- and_between('delivery_date', 'int_touched_dates', 'metric_date') }}
    {%- endif -%}
{%- endset %}

with

{% if is_incremental() -%}
touched_deliveries as (

    select
        delivery_key,
        journey_id,
        template_id,
        copy_id,
        content_hash,
        delivery_date,
        last_called_at,
        user_id
    from {{ ref('fct_deliveries') }}
    where
        journey_id in (select journey_id from {{ ref('int_touched_messages') }})
        {{- and_between('journey_id', 'int_touched_messages', 'journey_id') }}
        and {{ on_touched_date }}

    union all

    select
        delivery_key,
        journey_id,
        template_id,
        copy_id,
        content_hash,
        delivery_date,
        last_called_at,
        user_id
    from {{ ref('fct_deliveries') }}
    where
        journey_id is null
        and last_called_at in (select called_at from {{ ref('int_touched_calls') }})
        {{- and_between('last_called_at', 'int_touched_calls', 'called_at') }}

),

{% endif -%}
outcomes as (

    select
        delivery_key,
        {{ bit_or(outcome_bits()) }} as outcomes
    from {{ ref('fct_engagement_events') }}
    where
        counts
        and delivery_key is not null
        {% if is_incremental() -%}
        and delivery_key in (select delivery_key from touched_deliveries)
        and {{ on_touched_date }}
        {%- endif %}
    group by delivery_key

),

final as (

    select
        deliveries.delivery_key as unit_key,
        deliveries.journey_id,
        deliveries.template_id,
        deliveries.copy_id,
        deliveries.content_hash,
        deliveries.delivery_date as unit_date,
        deliveries.last_called_at as started_at,
        {{ person_key('deliveries.user_id', 'deliveries.delivery_key') }} as person_key,
        cast(coalesce(outcomes.outcomes, 0) as {{ dbt.type_bigint() }}) as outcomes
    from {{ deliveries }} as deliveries
    left join outcomes
        on deliveries.delivery_key = outcomes.delivery_key

)

select * from final
{% if not is_incremental() -%}
-- in order of days, as later runs append: the rows that a day needs are then stored together
order by unit_date
{%- endif %}
