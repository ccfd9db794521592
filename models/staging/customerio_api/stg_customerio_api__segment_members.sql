with

source as (

    select * from {{ landed_or_empty('customerio_api', 'customerio_api') }}

),

items as (

    select
        key,
        _scope,
        payload,
        extracted_at,
        {{ json_fields('payload', [
            'cio_id', 'id', 'email',
        ]) }} as item
    from source
    where entity = 'segment_members'

),

final as (

    select
        {{ text_to_bigint("split_part(_scope, '/', 2)") }} as segment_id,
        substr(key, length(_scope) + 2) as person_key,
        {{ json_field('item', 'cio_id') }} as cio_id,
        {{ json_field('item', 'id') }} as user_id,
        {{ json_field('item', 'email') }} as email,
        payload,
        extracted_at
    from items

)

select * from final
