{{ config(
    materialized='view',
    meta={'touched': [{
        'model': 'int_touched_messages',
        'on': {'delivery_id': 'delivery_id'},
        'since': {'first_event_date': 'first_event_date'},
    }]}
) }}

with

matches as (

    select * from {{ ref('int_message_matches') }}

),

unmatched as (

    select * from {{ ref('int_unmatched_messages') }}

),

messages as (

    select
        delivery_id,
        first_event_at,
        first_event_date,
        has_human_click,
        has_repeats,
        match_method,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        delivery_key,
        copy_id,
        delivery_date,
        last_called_at,
        null as control_template_id,
        null as unmatched_reason
    from matches

    union all

    select
        delivery_id,
        first_event_at,
        first_event_date,
        has_human_click,
        has_repeats,
        case when control_template_id is not null then 'control' end as match_method,
        null as journey_id,
        null as action_id,
        null as parent_action_id,
        null as campaign_id,
        null as delivery_key,
        null as copy_id,
        delivery_date,
        null as last_called_at,
        control_template_id,
        unmatched_reason
    from unmatched

),

final as (

    select
        delivery_id,
        first_event_at,
        first_event_date,
        {{ dbt.dateadd('day', var('engagement_window_days'), 'first_event_at') }} as window_ends_at,
        has_human_click,
        has_repeats,
        match_method,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        delivery_key,
        copy_id,
        delivery_date,
        last_called_at,
        control_template_id,
        unmatched_reason
    from messages

)

select * from final
