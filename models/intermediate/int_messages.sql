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
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

action_map as (

    select * from {{ ref('int_action_map') }}

),

template_actions as (

    select * from {{ ref('template_actions') }}

),

catalogue as (

    select * from {{ ref('engagement_metrics') }}

),

-- a bit for each metric that counts: the bits of a message add up to their union when none comes twice
metric_names as (

    select
        metric,
        max(
            case counts_as
                {%- for metric in catalogue_metrics() %}
                when '{{ metric }}' then {{ 2 ** loop.index0 }}
                {%- endfor %}
                else 0
            end
        ) as metric_bit
    from catalogue
    group by metric

),

{% if is_incremental() -%}
touched as (

    select distinct
        delivery_id,
        first_event_date
    from {{ ref('int_touched_messages') }}
    where delivery_id is not null

),

{% endif -%}
-- a message has one or two such combinations and many events
message_ids as (

    select
        events.delivery_id,
        events.journey_id,
        events.action_id,
        events.parent_action_id,
        events.campaign_id,
        min(events.event_at) as first_event_at,
        min({{ ordered_key('events.event_timestamp', 'events.event_id') }}) as first_event_order,
        {{ dbt.bool_or("events.metric = 'clicked' and not coalesce(events.is_machine_click, false)") }}
            as has_human_click,
        min(events.channel) != max(events.channel)
        or sum(coalesce(metric_names.metric_bit, 0)) != {{ bit_or('coalesce(metric_names.metric_bit, 0)') }}
            as has_repeats
    from {{ ref('int_distinct_events') }} as events
    left join metric_names
        on events.metric = metric_names.metric
    {% if is_incremental() -%}
    inner join touched
        on
            events.delivery_id = touched.delivery_id
            and events.event_date >= touched.first_event_date
    {% endif -%}
    where events.is_about_message
    group by
        events.delivery_id, events.journey_id, events.action_id, events.parent_action_id, events.campaign_id

),

messages as (

    select
        delivery_id,
        min(first_event_at) as first_event_at,
        {{ dbt.bool_or('has_human_click') }} as has_human_click,
        {{ dbt.bool_or('has_repeats') }} or count(*) > 1 as has_repeats
    from message_ids
    group by delivery_id

),

-- a call without journey_id or action_id is a delivery that can never match
candidates as (

    select
        message_ids.delivery_id,
        message_ids.journey_id,
        message_ids.action_id,
        message_ids.parent_action_id,
        message_ids.campaign_id,
        message_ids.first_event_order,
        messages.first_event_at,
        deliveries.delivery_key,
        deliveries.action_id as call_action_id,
        deliveries.template_id,
        deliveries.copy_id,
        deliveries.delivery_date,
        deliveries.first_called_at,
        deliveries.last_called_at
    from message_ids
    inner join messages
        on message_ids.delivery_id = messages.delivery_id
    inner join {{ ref('fct_deliveries') }} as deliveries
        on message_ids.journey_id = deliveries.journey_id
    where
        deliveries.action_id is not null
        and {{ is_in_match_range('deliveries.last_called_at', 'messages.first_event_at') }}

),

judged as (

    select
        candidates.delivery_id,
        candidates.journey_id,
        candidates.action_id,
        candidates.parent_action_id,
        candidates.campaign_id,
        candidates.first_event_order,
        candidates.first_event_at,
        candidates.delivery_key,
        candidates.copy_id,
        candidates.delivery_date,
        candidates.first_called_at,
        candidates.last_called_at,
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

-- the earliest event that matches decides for its message; then the method; then the latest call made by the
-- time of the message's first event, else the earliest after it
ranked as (

    select
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        delivery_key,
        copy_id,
        delivery_date,
        last_called_at,
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
    where method_rank is not null

),

matches as (

    select
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        delivery_key,
        copy_id,
        delivery_date,
        last_called_at,
        case method_rank
            when 1 then 'direct'
            when 2 then 'action_map'
            when 3 then 'parent_direct'
            when 4 then 'parent_map'
        end as match_method
    from ranked
    where preference = 1

),

unmatched_ids as (

    select
        message_ids.delivery_id,
        message_ids.journey_id,
        message_ids.action_id,
        message_ids.parent_action_id,
        message_ids.campaign_id,
        message_ids.first_event_order
    from message_ids
    left join matches
        on message_ids.delivery_id = matches.delivery_id
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
        template_id as control_template_id
    from control_actions
    where preference = 1

),

mapped_actions as (

    select distinct message_action_id
    from action_map

),

unmatched_messages as (

    select
        unmatched_ids.delivery_id,
        messages.first_event_at,
        {{ dbt.bool_or('unmatched_ids.journey_id is not null') }} as has_journey,
        {{ dbt.bool_or(
            'unmatched_ids.journey_id is not null '
            ~ 'and coalesce(unmatched_ids.action_id, unmatched_ids.parent_action_id) is not null'
        ) }} as has_action,
        {{ dbt.bool_or(
            'coalesce(mapped_actions.message_action_id, mapped_parents.message_action_id) is not null'
        ) }} as has_mapped_action
    from unmatched_ids
    inner join messages
        on unmatched_ids.delivery_id = messages.delivery_id
    left join controls
        on unmatched_ids.delivery_id = controls.delivery_id
    left join mapped_actions
        on unmatched_ids.action_id = mapped_actions.message_action_id
    left join mapped_actions as mapped_parents
        on unmatched_ids.parent_action_id = mapped_parents.message_action_id
    where controls.delivery_id is null
    group by unmatched_ids.delivery_id, messages.first_event_at

),

calls_of_unmatched as (

    select
        unmatched_ids.delivery_id,
        {{ dbt.bool_or(is_in_match_range('deliveries.last_called_at', 'messages.first_event_at')) }}
            as has_call_in_range
    from unmatched_ids
    inner join messages
        on unmatched_ids.delivery_id = messages.delivery_id
    inner join {{ ref('fct_deliveries') }} as deliveries
        on unmatched_ids.journey_id = deliveries.journey_id
    where deliveries.action_id is not null
    group by unmatched_ids.delivery_id

),

reasons as (

    select
        unmatched_messages.delivery_id,
        case
            when not unmatched_messages.has_journey then 'no_journey_id'
            when not unmatched_messages.has_action then 'no_action_id'
            when calls_of_unmatched.delivery_id is null then 'no_call_in_journey'
            when not calls_of_unmatched.has_call_in_range then 'call_out_of_range'
            when not unmatched_messages.has_mapped_action then 'action_not_mapped'
            else 'map_disagrees'
        end as unmatched_reason
    from unmatched_messages
    left join calls_of_unmatched
        on unmatched_messages.delivery_id = calls_of_unmatched.delivery_id

),

final as (

    select
        messages.delivery_id,
        messages.first_event_at,
        cast(messages.first_event_at as date) as first_event_date,
        {{ dbt.dateadd('day', var('engagement_window_days'), 'messages.first_event_at') }} as window_ends_at,
        messages.has_human_click,
        messages.has_repeats,
        case
            when controls.delivery_id is not null then 'control'
            else matches.match_method
        end as match_method,
        matches.journey_id,
        matches.action_id,
        matches.parent_action_id,
        matches.campaign_id,
        matches.delivery_key,
        matches.copy_id,
        case
            when controls.delivery_id is not null then {{ reporting_date('messages.first_event_at') }}
            else matches.delivery_date
        end as delivery_date,
        matches.last_called_at,
        controls.control_template_id,
        reasons.unmatched_reason
    from messages
    left join matches
        on messages.delivery_id = matches.delivery_id
    left join controls
        on messages.delivery_id = controls.delivery_id
    left join reasons
        on messages.delivery_id = reasons.delivery_id

)

select * from final
