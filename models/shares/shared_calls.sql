{{ config(meta={'touched': [{'model': 'int_touched_calls', 'on': {'event_timestamp': 'event_timestamp'}}]}) }}

with

calls as (

    select * from {{ ref('fct_calls') }}

),

final as (

    select
        event_timestamp,
        user_id,
        campaign_id,
        action_id,
        journey_id,
        copy_id,
        template_id,
        vars,
        attrs
    from calls

)

select * from final
