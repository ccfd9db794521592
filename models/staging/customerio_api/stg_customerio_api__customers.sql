with

source as (

    select * from {{ landed_or_empty('customerio_api', 'customerio_api') }}

),

items as (

    select
        key,
        payload,
        extracted_at,
        {{ json_fields('payload', [
            'cio_id', 'id', 'email',
        ]) }} as item
    from source
    where entity = 'customers'

),

final as (

    select
        key as person_key,
        {{ json_field('item', 'cio_id') }} as cio_id,
        {{ json_field('item', 'id') }} as user_id,
        {{ json_field('item', 'email') }} as email,
        payload,
        extracted_at
    from items

)

select * from final
