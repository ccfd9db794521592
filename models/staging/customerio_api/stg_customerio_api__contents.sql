with

source as (

    select * from {{ landed_or_empty('customerio_api', 'customerio_api') }}

),

items as (

    select
        _scope,
        payload,
        extracted_at,
        {{ json_fields('payload', [
            'id', 'name', 'subject', 'body', 'language', 'test_group_id', 'created', 'updated',
        ]) }} as item
    from source
    where entity = 'contents'

),

final as (

    select
        {{ text_to_bigint("split_part(_scope, '/', 2)") }} as newsletter_id,
        {{ text_to_bigint(json_field('item', 'id')) }} as content_id,
        {{ json_field('item', 'name') }} as name,
        {{ json_field('item', 'subject') }} as subject,
        {{ json_field('item', 'body') }} as body,
        {{ json_field('item', 'language') }} as language,
        {{ json_field('item', 'test_group_id') }} as test_group_id,
        {{ json_time('item', 'created') }} as created_at,
        {{ json_time('item', 'updated') }} as updated_at,
        payload,
        extracted_at
    from items

)

select * from final
