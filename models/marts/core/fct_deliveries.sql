{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [
        {'model': 'int_touched_calls', 'on': {'journey_id': 'journey_id'}},
        {'model': 'int_touched_calls', 'on': {'last_called_at': 'called_at'}, 'only': 'journey_id is null'},
    ]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

{# All calls of a delivery lie in its journey; one without a journey is a delivery of its own. #}
{% if is_incremental() -%}
calls as (

    select * from {{ ref('int_distinct_calls') }}
    where journey_id in (select journey_id from {{ ref('int_touched_calls') }})

    union all

    select * from {{ ref('int_distinct_calls') }}
    where
        journey_id is null
        and event_timestamp in (select event_timestamp from {{ ref('int_touched_calls') }})

),
{%- else -%}
calls as (

    select * from {{ ref('int_distinct_calls') }}

),
{%- endif %}

-- the order is total: within a delivery journey_id and action_id are the same, content_hash holds template_id and vars
ranked as (

    select
        delivery_key,
        journey_id,
        action_id,
        campaign_id,
        template_id,
        copy_id,
        content_hash,
        user_id,
        call_date as delivery_date,
        called_at as last_called_at,
        attrs,
        min(called_at) over (partition by delivery_key) as first_called_at,
        cast(count(*) over (partition by delivery_key) as {{ dbt.type_bigint() }}) as call_count,
        min(copy_id) over (partition by delivery_key) != max(copy_id) over (partition by delivery_key) as copy_conflict,
        row_number() over (
            partition by delivery_key
            order by
                event_timestamp desc,
                content_hash desc,
                copy_id desc,
                attrs desc,
                user_id desc nulls last,
                campaign_id desc nulls last
        ) as recency
    from calls

),

final as (

    select
        delivery_key,
        journey_id,
        action_id,
        campaign_id,
        template_id,
        copy_id,
        content_hash,
        user_id,
        delivery_date,
        first_called_at,
        last_called_at,
        call_count,
        copy_conflict,
        attrs
    from ranked
    where recency = 1

)

select * from final
