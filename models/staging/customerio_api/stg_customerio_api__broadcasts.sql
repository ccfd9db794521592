with

source as (

    select * from {{ landed_or_empty('customerio_api', 'customerio_api') }}

),

items as (

    select
        payload,
        extracted_at,
        {{ json_fields('payload', [
            'id', 'name', 'state', 'active', 'tags', 'created', 'updated', 'first_started',
        ]) }} as item
    from source
    where entity = 'broadcasts'

),

final as (

    select
        {{ text_to_bigint(json_field('item', 'id')) }} as broadcast_id,
        {{ json_field('item', 'name') }} as name,
        {{ json_field('item', 'state') }} as state,
        {{ text_to_boolean(json_field('item', 'active')) }} as is_active,
        {{ json_field('item', 'tags') }} as tags,
        {{ json_time('item', 'created') }} as created_at,
        {{ json_time('item', 'updated') }} as updated_at,
        {{ json_time('item', 'first_started') }} as first_started_at,
        payload,
        extracted_at
    from items

)

select * from final
