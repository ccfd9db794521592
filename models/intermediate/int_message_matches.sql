{% set methods = [
    {'name': 'direct', 'rank': 1, 'action': 'action_id', 'by_map': false},
    {'name': 'action_map', 'rank': 2, 'action': 'action_id', 'by_map': true},
    {'name': 'parent_direct', 'rank': 3, 'action': 'parent_action_id', 'by_map': false},
    {'name': 'parent_map', 'rank': 4, 'action': 'parent_action_id', 'by_map': true},
] %}

with

candidates as (

    select * from {{ ref('int_message_candidates') }}

),

action_map as (

    select * from {{ ref('int_action_map') }}

),

{% for method in methods -%}
by_{{ method.name }} as (

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
        candidates.first_called_at,
        '{{ method.name }}' as match_method,
        {{ method.rank }} as method_rank
    from candidates
    {% if method.by_map -%}
    inner join action_map
        on
            candidates.{{ method.action }} = action_map.message_action_id
            and candidates.template_id = action_map.template_id
            and (action_map.webhook_action_id is null or action_map.webhook_action_id = candidates.call_action_id)
            and {{ campaign_agrees('action_map.message_campaign_id', 'candidates.campaign_id') }}
            and {{ campaign_agrees('action_map.webhook_campaign_id', 'candidates.campaign_id') }}
    where candidates.is_in_range
    {%- else -%}
    where
        candidates.is_in_range
        and candidates.{{ method.action }} = candidates.call_action_id
    {%- endif %}

),

{% endfor -%}
matches as (

    {% for method in methods -%}
    select * from by_{{ method.name }}
    {% if not loop.last %}union all
    {% endif %}
    {%- endfor %}

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
        match_method,
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
    from matches

),

final as (

    select
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        delivery_key,
        copy_id,
        match_method
    from ranked
    where preference = 1

)

select * from final
