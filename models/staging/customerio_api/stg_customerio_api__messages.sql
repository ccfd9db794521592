with

source as (

    select * from {{ landed_or_empty('customerio_api', 'customerio_api') }}

),

items as (

    select
        payload,
        extracted_at,
        {{ json_fields('payload', [
            'id', 'type', 'campaign_id', 'broadcast_id', 'newsletter_id', 'content_id', 'transactional_message_id',
            'action_id', 'parent_action_id', 'trigger_event_id', 'message_template_id', 'msg_template_id',
            'customer_id', 'customer_identifiers.id', 'customer_identifiers.cio_id', 'customer_identifiers.email',
            'recipient', 'subject', 'failure_message', 'forgotten', 'created', 'tracked_responses',
        ] + message_metrics() | map('replace', '', 'metrics.', 1) | list) }} as item
    from source
    where entity = 'messages'

),

final as (

    select
        {{ json_field('item', 'id') }} as delivery_id,
        {{ channel_of(plain_name(json_field('item', 'type'))) }} as channel,
        {{ text_to_bigint(json_field('item', 'campaign_id')) }} as campaign_id,
        {{ text_to_bigint(json_field('item', 'broadcast_id')) }} as broadcast_id,
        {{ text_to_bigint(json_field('item', 'newsletter_id')) }} as newsletter_id,
        {{ text_to_bigint(json_field('item', 'content_id')) }} as content_id,
        {{ text_to_bigint(json_field('item', 'transactional_message_id')) }} as transactional_message_id,
        {{ text_to_bigint(json_field('item', 'action_id')) }} as action_id,
        {{ text_to_bigint(json_field('item', 'parent_action_id')) }} as parent_action_id,
        {{ json_field('item', 'trigger_event_id') }} as trigger_event_id,
        coalesce(
            {{ text_to_bigint(json_field('item', 'message_template_id')) }},
            {{ text_to_bigint(json_field('item', 'msg_template_id')) }}
        ) as message_template_id,
        coalesce(
            {{ json_field('item', 'customer_identifiers.id') }},
            {{ json_field('item', 'customer_id') }}
        ) as user_id,
        {{ json_field('item', 'customer_identifiers.cio_id') }} as cio_id,
        {{ json_field('item', 'customer_identifiers.email') }} as email,
        {{ json_field('item', 'recipient') }} as recipient,
        {{ json_field('item', 'subject') }} as subject,
        {{ json_field('item', 'failure_message') }} as failure_message,
        {{ text_to_boolean(json_field('item', 'forgotten')) }} as is_forgotten,
        {{ json_field('item', 'tracked_responses') }} as tracked_responses,
        {{ json_time('item', 'created') }} as created_at,
        {%- for metric in message_metrics() %}
        {{ first_time('item', 'metrics.' ~ metric) }} as {{ metric }}_at,
        {%- endfor %}
        payload,
        extracted_at
    from items

)

select * from final
