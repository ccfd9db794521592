{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['first_event_date'],
    meta={'touched': [{
        'model': 'int_touched_messages',
        'on': {'delivery_id': 'delivery_id'},
        'since': {'first_event_date': 'first_event_date'},
    }]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

{% set of_message = [
    'delivery_id', 'journey_id', 'action_id', 'parent_action_id', 'campaign_id', 'first_event_at', 'first_event_date',
    'has_human_click', 'has_repeats',
] %}
{% set of_delivery = ['delivery_key', 'copy_id', 'delivery_date', 'last_called_at'] %}

with

action_map as (

    select * from {{ ref('int_action_map') }}

),

{{ touched_messages() }}

-- a call without journey_id or action_id is a delivery that can never match
candidates as (

    select
        {{ columns_of('message_ids', of_message) }},
        message_ids.first_event_order,
        {{ columns_of('deliveries', of_delivery) }},
        deliveries.action_id as call_action_id,
        deliveries.template_id,
        deliveries.first_called_at
    from {{ ref('int_message_ids') }} as message_ids
    {{ join_touched_messages() }}
    inner join {{ ref('fct_deliveries') }} as deliveries
        on
            message_ids.journey_id = deliveries.journey_id
            {%- if is_incremental() %}
                {{- and_between('deliveries.journey_id', 'int_touched_messages', 'journey_id') }}
            {%- endif %}
            and deliveries.action_id is not null
            and {{ is_in_match_range('deliveries.last_called_at', 'message_ids.first_event_at') }}

),

judged as (

    select
        {{ columns_of('candidates', of_message + of_delivery) }},
        candidates.first_event_order,
        candidates.first_called_at,
        case
            when candidates.action_id = candidates.call_action_id then 1
            when by_action.message_action_id is not null then 2
            when candidates.parent_action_id = candidates.call_action_id then 3
            when by_parent.message_action_id is not null then 4
        end as method_rank
    from candidates
    left join action_map as by_action
        on {{ is_mapped('candidates', 'action_id', 'by_action') }}
    left join action_map as by_parent
        on {{ is_mapped('candidates', 'parent_action_id', 'by_parent') }}

),

-- grouped by hash, because text takes several times as long; a message that shares its hash is ordered needlessly
contested as (

    select hash(delivery_id) as delivery_hash
    from judged
    where method_rank is not null
    group by hash(delivery_id)
    having count(*) > 1

),

-- the earliest event that matches decides for its message; then the method; then the latest call before the message's
-- first event, else the earliest after it
ranked as (

    select
        {{ (of_message + of_delivery) | join(',\n        ') }},
        method_rank,
        row_number() over (
            partition by delivery_id
            order by
                first_event_order,
                method_rank,
                case when first_called_at <= first_event_at then 0 else 1 end,
                case when first_called_at <= first_event_at then first_called_at end desc,
                first_called_at,
                delivery_key
        ) as preference
    from judged
    where
        method_rank is not null
        and hash(delivery_id) in (select delivery_hash from contested)

),

matches as (

    select
        {{ columns_of('judged', of_message + of_delivery) }},
        judged.method_rank
    from judged
    left join contested
        on hash(judged.delivery_id) = contested.delivery_hash
    where
        judged.method_rank is not null
        and contested.delivery_hash is null

    union all

    select
        {{ (of_message + of_delivery) | join(',\n        ') }},
        method_rank
    from ranked
    where preference = 1

),

final as (

    select
        delivery_id,
        first_event_at,
        first_event_date,
        has_human_click,
        has_repeats,
        case method_rank
            when 1 then 'direct'
            when 2 then 'action_map'
            when 3 then 'parent_direct'
            when 4 then 'parent_map'
        end as match_method,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        delivery_key,
        copy_id,
        delivery_date,
        last_called_at
    from matches

)

select * from final
{% if not is_incremental() -%}
-- in order of days, as later runs append: the rows that a day needs are then stored together
order by first_event_date
{%- endif %}
