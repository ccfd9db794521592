with

actions as (

    select * from {{ ref('stg_customerio_api__actions') }}

),

campaigns as (

    select * from {{ ref('dim_campaigns') }}

),

final as (

    select
        actions.campaign_id,
        actions.broadcast_id,
        actions.action_id,
        campaigns.name as campaign_name,
        actions.name,
        {{ channel_of(plain_name('actions.action_type')) }} as channel,
        actions.subject,
        actions.preheader,
        actions.sending_state,
        actions.language,
        actions.created_at,
        actions.updated_at
    from actions
    left join campaigns
        on
            actions.campaign_id = campaigns.campaign_id
            or actions.broadcast_id = campaigns.broadcast_id

)

select * from final
