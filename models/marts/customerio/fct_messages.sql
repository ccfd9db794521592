with

messages as (

    select * from {{ ref('stg_customerio_api__messages') }}

),

final as (

    select
        delivery_id,
        channel,
        campaign_id,
        broadcast_id,
        newsletter_id,
        content_id,
        transactional_message_id,
        action_id,
        parent_action_id,
        user_id,
        cio_id,
        {{ reporting_date('created_at') }} as created_date,
        created_at,
        {%- for metric in message_metrics() %}
        {{ metric }}_at{{ ',' if not loop.last }}
        {%- endfor %}
    from messages

)

select * from final
