{% set methods = ['direct', 'action_map', 'parent_direct', 'parent_map', 'delivery_id', 'control'] %}
{% set reasons = ['no_action_id', 'no_call_in_journey', 'call_out_of_range', 'action_not_mapped', 'map_disagrees'] %}

with

events as (

    select * from {{ ref('fct_engagement_events') }}
    where uncounted_reason is distinct from 'in_other_feed'

),

deliveries as (

    select * from {{ ref('fct_deliveries') }}

),

template_actions as (

    select * from {{ ref('int_template_actions') }}

),

justai_campaigns as (

    select campaign_id
    from deliveries
    where campaign_id is not null

    union

    select campaign_id
    from template_actions
    where campaign_id is not null

),

totals as (

    select count(*) as delivery_count
    from deliveries

),

in_journeys as (

    select
        {{ reporting_date('event_at') }} as metric_date,
        campaign_id,
        match_method,
        unmatched_reason
    from events
    where journey_id is not null

),

summed as (

    select
        metric_date,
        campaign_id,
        count(*) as event_count,
        {%- for method in methods %}
        count(case when match_method = '{{ method }}' then 1 end) as {{ method }},
        {%- endfor %}
        {%- for reason in reasons %}
        count(case when unmatched_reason = '{{ reason }}' then 1 end) as {{ reason }},
        {%- endfor %}
        count(match_method) as matched_count,
        cast(count(match_method) as double) / count(*) as match_rate
    from in_journeys
    group by metric_date, campaign_id

),

final as (

    select
        summed.metric_date,
        summed.campaign_id,
        -- calls may lack the campaign; a journey in which JustAI was called shows the same
        (
            justai_campaigns.campaign_id is not null
            or summed.matched_count + summed.call_out_of_range + summed.action_not_mapped + summed.map_disagrees > 0
            or totals.delivery_count = 0
        ) as is_expected,
        summed.event_count,
        {%- for count in methods + reasons %}
        summed.{{ count }},
        {%- endfor %}
        summed.match_rate
    from summed
    cross join totals
    left join justai_campaigns
        on summed.campaign_id = justai_campaigns.campaign_id

)

select * from final
