{# A view on both engines: it reads all deliveries and messages, which only who sets up the action map wants. #}
{{ config(materialized='view') }}

with

deliveries as (

    select * from {{ ref('fct_deliveries') }}

),

message_ids as (

    select * from {{ ref('int_message_ids') }}

),

action_map as (

    select * from {{ ref('int_action_map') }}

),

calls as (

    select
        delivery_key,
        journey_id,
        template_id,
        campaign_id,
        action_id,
        first_called_at
    from deliveries
    where
        journey_id is not null
        and action_id is not null

),

moments as (

    select distinct
        journey_id,
        first_called_at
    from calls

),

-- a message belongs to the last call before it
spans as (

    select
        journey_id,
        first_called_at,
        lead(first_called_at) over (partition by journey_id order by first_called_at) as next_called_at
    from moments

),

followed as (

    select
        calls.delivery_key,
        calls.template_id,
        calls.campaign_id,
        calls.action_id,
        message_ids.action_id as message_action_id,
        row_number() over (
            partition by calls.delivery_key
            order by message_ids.first_event_at, message_ids.action_id, message_ids.delivery_id
        ) as place
    from calls
    inner join spans
        on
            calls.journey_id = spans.journey_id
            and calls.first_called_at = spans.first_called_at
    inner join message_ids
        on
            calls.journey_id = message_ids.journey_id
            and message_ids.action_id is not null
            and message_ids.first_event_at >= calls.first_called_at
            and message_ids.first_event_at
            <= {{ dbt.dateadd('day', var('match_lookback_days'), 'calls.first_called_at') }}
            and message_ids.first_event_at < coalesce(
                spans.next_called_at, {{ dbt.dateadd('day', 1, 'message_ids.first_event_at') }}
            )

),

pairs as (

    select
        template_id,
        campaign_id,
        action_id as webhook_action_id,
        message_action_id,
        count(*) as delivery_count
    from followed
    where place = 1
    group by template_id, campaign_id, action_id, message_action_id

),

shares as (

    select
        template_id,
        campaign_id,
        webhook_action_id,
        message_action_id,
        delivery_count,
        sum(delivery_count) over (partition by template_id, campaign_id, webhook_action_id) as followed_count
    from pairs

),

mapped as (

    select distinct
        template_id,
        message_action_id
    from action_map

),

-- an action that sends the message itself needs no row
final as (

    select
        shares.template_id,
        shares.campaign_id,
        shares.webhook_action_id,
        shares.message_action_id,
        cast(shares.delivery_count as {{ dbt.type_bigint() }}) as delivery_count,
        cast(shares.followed_count as {{ dbt.type_bigint() }}) as followed_count,
        cast(shares.delivery_count as double) / shares.followed_count as share,
        mapped.template_id is not null as is_mapped
    from shares
    left join mapped
        on
            shares.template_id = mapped.template_id
            and shares.message_action_id = mapped.message_action_id
    where shares.webhook_action_id != shares.message_action_id

)

select * from final
