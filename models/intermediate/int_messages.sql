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

{# 64 bits each of the two or three sets of ids that one message may have: none of them meet. #}
{% set hash_of_ids %}hash(events.journey_id, events.action_id, events.parent_action_id, events.campaign_id){% endset %}

{% set of_touched -%}
    {%- if is_incremental() -%}
    inner join touched
        on
            events.delivery_id = touched.delivery_id
            and events.event_date >= touched.first_event_date
    {%- endif -%}
{%- endset %}

with

action_map as (

    select * from {{ ref('int_action_map') }}

),

template_actions as (

    select * from {{ ref('int_template_actions') }}

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
messages as (

    select
        events.delivery_id,
        min(events.event_at) as first_event_at,
        {{ dbt.bool_or("events.metric = 'clicked' and not coalesce(events.is_machine_click, false)") }}
            as has_human_click,
        {{ dbt.any_value('events.journey_id') }} as journey_id,
        {{ dbt.any_value('events.action_id') }} as action_id,
        {{ dbt.any_value('events.parent_action_id') }} as parent_action_id,
        {{ dbt.any_value('events.campaign_id') }} as campaign_id,
        min({{ hash_of_ids }}) != max({{ hash_of_ids }}) as has_several_ids,
        min(events.channel) != max(events.channel)
        or min({{ hash_of_ids }}) != max({{ hash_of_ids }})
        or sum(coalesce(metric_names.metric_bit, 0)) != {{ bit_or('coalesce(metric_names.metric_bit, 0)') }}
            as has_repeats
    from {{ ref('int_distinct_events') }} as events
    left join metric_names
        on events.metric = metric_names.metric
    {{ of_touched }}
    where events.is_about_message
    group by events.delivery_id

),

-- nearly all messages carry the same ids on each event, and the order of these events is of no matter
messages_of_several_ids as (

    select delivery_id
    from messages
    where has_several_ids

),

id_sets as (

    select
        events.delivery_id,
        events.journey_id,
        events.action_id,
        events.parent_action_id,
        events.campaign_id,
        min({{ ordered_key('events.event_timestamp', 'events.event_id') }}) as first_event_order
    from {{ ref('int_distinct_events') }} as events
    {{ of_touched }}
    where
        events.is_about_message
        and events.delivery_id in (select delivery_id from messages_of_several_ids)
    group by
        events.delivery_id, events.journey_id, events.action_id, events.parent_action_id, events.campaign_id

),

message_ids as (

    select
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        cast(null as {{ dbt.type_string() }}) as first_event_order,
        first_event_at,
        has_human_click,
        has_repeats
    from messages
    where not has_several_ids

    union all

    select
        id_sets.delivery_id,
        id_sets.journey_id,
        id_sets.action_id,
        id_sets.parent_action_id,
        id_sets.campaign_id,
        id_sets.first_event_order,
        messages.first_event_at,
        messages.has_human_click,
        messages.has_repeats
    from id_sets
    inner join messages
        on id_sets.delivery_id = messages.delivery_id

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
        message_ids.first_event_at,
        message_ids.has_human_click,
        message_ids.has_repeats,
        deliveries.delivery_key,
        deliveries.action_id as call_action_id,
        deliveries.template_id,
        deliveries.copy_id,
        deliveries.delivery_date,
        deliveries.first_called_at,
        deliveries.last_called_at,
        coalesce({{ is_in_match_range('deliveries.last_called_at', 'message_ids.first_event_at') }}, false)
            as is_in_range
    from message_ids
    left join {{ ref('fct_deliveries') }} as deliveries
        on
            message_ids.journey_id = deliveries.journey_id
            and deliveries.action_id is not null

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
        candidates.has_human_click,
        candidates.has_repeats,
        candidates.delivery_key,
        candidates.copy_id,
        candidates.delivery_date,
        candidates.first_called_at,
        candidates.last_called_at,
        candidates.is_in_range,
        case
            when not candidates.is_in_range then null
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

-- by hash, as text takes several times as long to group; a message that shares its hash is ordered in vain
contested as (

    select hash(delivery_id) as delivery_hash
    from judged
    group by hash(delivery_id)
    having count(*) > 1

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
        first_event_at,
        has_human_click,
        has_repeats,
        delivery_key,
        copy_id,
        delivery_date,
        last_called_at,
        method_rank,
        row_number() over (
            partition by delivery_id
            order by
                case when method_rank is null then 1 else 0 end,
                first_event_order,
                method_rank,
                case when first_called_at <= first_event_at then 0 else 1 end,
                case when first_called_at <= first_event_at then first_called_at end desc,
                first_called_at,
                delivery_key
        ) as preference
    from judged
    where hash(delivery_id) in (select delivery_hash from contested)

),

matched_of_several as (

    select delivery_id
    from ranked
    where
        preference = 1
        and method_rank is not null

),

verdicts as (

    select
        judged.delivery_id,
        judged.journey_id,
        judged.action_id,
        judged.parent_action_id,
        judged.campaign_id,
        judged.first_event_at,
        judged.has_human_click,
        judged.has_repeats,
        judged.delivery_key,
        judged.copy_id,
        judged.delivery_date,
        judged.last_called_at,
        judged.method_rank
    from judged
    left join contested
        on hash(judged.delivery_id) = contested.delivery_hash
    where contested.delivery_hash is null

    union all

    select
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        first_event_at,
        has_human_click,
        has_repeats,
        delivery_key,
        copy_id,
        delivery_date,
        last_called_at,
        method_rank
    from ranked
    where preference = 1

),

unmatched_ids as (

    select
        judged.delivery_id,
        judged.journey_id,
        judged.action_id,
        judged.parent_action_id,
        judged.campaign_id,
        judged.first_event_order,
        judged.delivery_key,
        judged.is_in_range
    from judged
    left join matched_of_several
        on judged.delivery_id = matched_of_several.delivery_id
    where
        judged.method_rank is null
        and matched_of_several.delivery_id is null

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

reasons as (

    select
        unmatched_ids.delivery_id,
        case
            when not {{ dbt.bool_or('unmatched_ids.journey_id is not null') }} then 'no_journey_id'
            when not {{ dbt.bool_or(
                'unmatched_ids.journey_id is not null '
                ~ 'and coalesce(unmatched_ids.action_id, unmatched_ids.parent_action_id) is not null'
            ) }} then 'no_action_id'
            when count(unmatched_ids.delivery_key) = 0 then 'no_call_in_journey'
            when not {{ dbt.bool_or('unmatched_ids.is_in_range') }} then 'call_out_of_range'
            when not {{ dbt.bool_or(
                'coalesce(mapped_actions.message_action_id, mapped_parents.message_action_id) is not null'
            ) }} then 'action_not_mapped'
            else 'map_disagrees'
        end as unmatched_reason
    from unmatched_ids
    left join mapped_actions
        on unmatched_ids.action_id = mapped_actions.message_action_id
    left join mapped_actions as mapped_parents
        on unmatched_ids.parent_action_id = mapped_parents.message_action_id
    group by unmatched_ids.delivery_id

),

final as (

    select
        verdicts.delivery_id,
        verdicts.first_event_at,
        cast(verdicts.first_event_at as date) as first_event_date,
        {{ dbt.dateadd('day', var('engagement_window_days'), 'verdicts.first_event_at') }} as window_ends_at,
        verdicts.has_human_click,
        verdicts.has_repeats,
        case
            when controls.delivery_id is not null then 'control'
            when verdicts.method_rank = 1 then 'direct'
            when verdicts.method_rank = 2 then 'action_map'
            when verdicts.method_rank = 3 then 'parent_direct'
            when verdicts.method_rank = 4 then 'parent_map'
        end as match_method,
        case when verdicts.method_rank is not null then verdicts.journey_id end as journey_id,
        case when verdicts.method_rank is not null then verdicts.action_id end as action_id,
        case when verdicts.method_rank is not null then verdicts.parent_action_id end as parent_action_id,
        case when verdicts.method_rank is not null then verdicts.campaign_id end as campaign_id,
        case when verdicts.method_rank is not null then verdicts.delivery_key end as delivery_key,
        case when verdicts.method_rank is not null then verdicts.copy_id end as copy_id,
        case
            when verdicts.method_rank is not null then verdicts.delivery_date
            when controls.delivery_id is not null then {{ reporting_date('verdicts.first_event_at') }}
        end as delivery_date,
        case when verdicts.method_rank is not null then verdicts.last_called_at end as last_called_at,
        controls.control_template_id,
        case when controls.delivery_id is null then reasons.unmatched_reason end as unmatched_reason
    from verdicts
    left join controls
        on verdicts.delivery_id = controls.delivery_id
    left join reasons
        on verdicts.delivery_id = reasons.delivery_id

)

select * from final
{% if not is_incremental() -%}
-- in the order of days, in which later runs add to it: what a day needs then lies together
order by first_event_date
{%- endif %}
