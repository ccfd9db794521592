with

source as (

    select * from {{ landed_or_empty('customerio_api', 'customerio_api') }}

),

items as (

    select
        payload,
        extracted_at,
        {{ json_fields('payload', [
            'id', 'name', 'endpoint', 'events', 'disabled', 'full_resolution', 'with_content',
        ]) }} as item
    from source
    where entity = 'webhooks'

),

final as (

    select
        {{ text_to_bigint(json_field('item', 'id')) }} as webhook_id,
        {{ json_field('item', 'name') }} as name,
        {{ json_field('item', 'endpoint') }} as endpoint,
        {{ json_field('item', 'events') }} as events,
        {{ text_to_boolean(json_field('item', 'disabled')) }} as is_disabled,
        {{ text_to_boolean(json_field('item', 'full_resolution')) }} as is_full_resolution,
        {{ text_to_boolean(json_field('item', 'with_content')) }} as is_with_content,
        payload,
        extracted_at
    from items

)

select * from final
