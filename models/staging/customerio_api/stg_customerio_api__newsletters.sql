with

source as (

    select * from {{ landed_or_empty('customerio_api', 'customerio_api') }}

),

items as (

    select
        payload,
        extracted_at,
        {{ json_fields('payload', [
            'id', 'name', 'type', 'content_ids', 'recipient_segment_ids', 'tags', 'sent_at', 'created',
            'updated',
        ]) }} as item
    from source
    where entity = 'newsletters'

),

final as (

    select
        {{ text_to_bigint(json_field('item', 'id')) }} as newsletter_id,
        {{ json_field('item', 'name') }} as name,
        {{ channel_of(plain_name(json_field('item', 'type'))) }} as channel,
        {{ json_field('item', 'content_ids') }} as content_ids,
        {{ json_field('item', 'recipient_segment_ids') }} as recipient_segment_ids,
        {{ json_field('item', 'tags') }} as tags,
        {{ json_time('item', 'sent_at') }} as sent_at,
        {{ json_time('item', 'created') }} as created_at,
        {{ json_time('item', 'updated') }} as updated_at,
        payload,
        extracted_at
    from items

)

select * from final
