with

source as (

    select * from {{ landed_or_empty('customerio_api', 'customerio_api') }}

),

items as (

    select
        payload,
        extracted_at,
        {{ json_fields('payload', [
            'id', 'name', 'description', 'state', 'type', 'tags', 'created_at', 'updated_at',
        ]) }} as item
    from source
    where entity = 'segments'

),

final as (

    select
        {{ text_to_bigint(json_field('item', 'id')) }} as segment_id,
        {{ json_field('item', 'name') }} as name,
        {{ json_field('item', 'description') }} as description,
        {{ json_field('item', 'state') }} as state,
        {{ json_field('item', 'type') }} as segment_type,
        {{ json_field('item', 'tags') }} as tags,
        {{ json_time('item', 'created_at') }} as created_at,
        {{ json_time('item', 'updated_at') }} as updated_at,
        payload,
        extracted_at
    from items

)

select * from final
