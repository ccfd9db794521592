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

with

action_map as (

    select * from {{ ref('int_action_map') }}

),

template_actions as (

    select * from {{ ref('int_template_actions') }}

),

{{ touched_messages() }}

unmatched_ids as (

    select
        message_ids.delivery_id,
        message_ids.journey_id,
        message_ids.action_id,
        message_ids.parent_action_id,
        message_ids.campaign_id,
        message_ids.first_event_order,
        message_ids.first_event_at,
        message_ids.has_human_click,
        message_ids.has_repeats
    from {{ ref('int_message_ids') }} as message_ids
    {{ join_touched_messages() }}
    left join {{ ref('int_message_matches') }} as matches
        on
            message_ids.delivery_id = matches.delivery_id
            and message_ids.first_event_date = matches.first_event_date
    where matches.delivery_id is null

),

control_actions as (

    select
        unmatched_ids.delivery_id,
        template_actions.template_id,
        row_number() over (
            partition by unmatched_ids.delivery_id
            order by unmatched_ids.first_event_order, template_actions.template_id
        ) as preference
    from unmatched_ids
    inner join template_actions
        on
            unmatched_ids.action_id = template_actions.action_id
            and template_actions.role = 'control'
            and {{ campaign_agrees('template_actions.campaign_id', 'unmatched_ids.campaign_id') }}

),

controls as (

    select
        delivery_id,
        template_id
    from control_actions
    where preference = 1

),

mapped_actions as (

    select distinct message_action_id
    from action_map

),

-- a call without action_id is a delivery that can never match
reasons as (

    select
        unmatched_ids.delivery_id,
        min(unmatched_ids.first_event_at) as first_event_at,
        {{ dbt.bool_or('unmatched_ids.has_human_click') }} as has_human_click,
        {{ dbt.bool_or('unmatched_ids.has_repeats') }} as has_repeats,
        case
            when not {{ dbt.bool_or('unmatched_ids.journey_id is not null') }} then 'no_journey_id'
            when not {{ dbt.bool_or(
                'unmatched_ids.journey_id is not null '
                ~ 'and coalesce(unmatched_ids.action_id, unmatched_ids.parent_action_id) is not null'
            ) }} then 'no_action_id'
            when count(deliveries.delivery_key) = 0 then 'no_call_in_journey'
            when not {{ dbt.bool_or(
                'coalesce(' ~ is_in_match_range('deliveries.last_called_at', 'unmatched_ids.first_event_at') ~ ', false)'
            ) }} then 'call_out_of_range'
            when not {{ dbt.bool_or(
                'coalesce(mapped_actions.message_action_id, mapped_parents.message_action_id) is not null'
            ) }} then 'action_not_mapped'
            else 'map_disagrees'
        end as unmatched_reason
    from unmatched_ids
    left join {{ ref('fct_deliveries') }} as deliveries
        on
            unmatched_ids.journey_id = deliveries.journey_id
            {%- if is_incremental() %}
                {{- and_between('deliveries.journey_id', 'int_touched_messages', 'journey_id') }}
            {%- endif %}
            and deliveries.action_id is not null
    left join mapped_actions
        on unmatched_ids.action_id = mapped_actions.message_action_id
    left join mapped_actions as mapped_parents
        on unmatched_ids.parent_action_id = mapped_parents.message_action_id
    group by unmatched_ids.delivery_id

),

final as (

    select
        reasons.delivery_id,
        reasons.first_event_at,
        cast(reasons.first_event_at as date) as first_event_date,
        reasons.has_human_click,
        reasons.has_repeats,
        case
            when controls.delivery_id is not null then {{ reporting_date('reasons.first_event_at') }}
        end as delivery_date,
        controls.template_id as control_template_id,
        case when controls.delivery_id is null then reasons.unmatched_reason end as unmatched_reason
    from reasons
    left join controls
        on reasons.delivery_id = controls.delivery_id

)

select * from final
{% if not is_incremental() -%}
-- in order of days, as later runs append: the rows that a day needs are then stored together
order by first_event_date
{%- endif %}
