with

message_ids as (

    select * from {{ ref('int_message_ids') }}

),

candidates as (

    select * from {{ ref('int_message_candidates') }}

),

matches as (

    select * from {{ ref('int_message_matches') }}

),

controls as (

    select * from {{ ref('int_control_messages') }}

),

action_map as (

    select * from {{ ref('int_action_map') }}

),

mapped_actions as (

    select distinct message_action_id
    from action_map

),

calls_of_journey as (

    select
        delivery_id,
        {{ dbt.bool_or('is_in_range') }} as has_call_in_range
    from candidates
    group by delivery_id

),

evidence as (

    select
        message_ids.delivery_id,
        {{ dbt.bool_or('message_ids.journey_id is not null') }} as has_journey,
        {{ dbt.bool_or(
            'message_ids.journey_id is not null and coalesce(message_ids.action_id, message_ids.parent_action_id) is not null'
        ) }} as has_action,
        {{ dbt.bool_or(
            'coalesce(mapped_actions.message_action_id, mapped_parents.message_action_id) is not null'
        ) }} as has_mapped_action
    from message_ids
    left join matches
        on message_ids.delivery_id = matches.delivery_id
    left join controls
        on message_ids.delivery_id = controls.delivery_id
    left join mapped_actions
        on message_ids.action_id = mapped_actions.message_action_id
    left join mapped_actions as mapped_parents
        on message_ids.parent_action_id = mapped_parents.message_action_id
    where
        matches.delivery_id is null
        and controls.delivery_id is null
    group by message_ids.delivery_id

),

final as (

    select
        evidence.delivery_id,
        case
            when not evidence.has_journey then 'no_journey_id'
            when not evidence.has_action then 'no_action_id'
            when calls_of_journey.delivery_id is null then 'no_call_in_journey'
            when not calls_of_journey.has_call_in_range then 'call_out_of_range'
            when not evidence.has_mapped_action then 'action_not_mapped'
            else 'map_disagrees'
        end as unmatched_reason
    from evidence
    left join calls_of_journey
        on evidence.delivery_id = calls_of_journey.delivery_id

)

select * from final
