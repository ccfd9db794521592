with

source as (

    select * from {{ landed_or_empty('customerio_api', 'customerio_api') }}

),

items as (

    select
        payload,
        extracted_at,
        {{ json_fields('payload', [
            'id', 'name', 'description', 'created_at', 'updated_at',
        ]) }} as item
    from source
    where entity = 'transactional'

),

final as (

    select
        {{ text_to_bigint(json_field('item', 'id')) }} as transactional_message_id,
        {{ json_field('item', 'name') }} as name,
        {{ json_field('item', 'description') }} as description,
        {{ json_time('item', 'created_at') }} as created_at,
        {{ json_time('item', 'updated_at') }} as updated_at,
        payload,
        extracted_at
    from items

)

select * from final
