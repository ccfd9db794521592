{{ config(post_hook='{{ make_activity_views() }}') }}

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
            'id', 'timestamp', 'customer_identifiers.id', 'customer_id', 'customer_identifiers.cio_id',
            'customer_identifiers.email', 'delivery_id', 'data.delivery_id', 'delivery_type', 'name',
            'url', 'data.delivered', 'data.opened',
        ]) }} as item
    from source
    where entity = 'activities'

),

final as (

    select
        {{ json_field('item', 'id') }} as activity_id,
        _scope as activity_type,
        {{ json_time('item', 'timestamp') }} as occurred_at,
        coalesce(
            {{ json_field('item', 'customer_identifiers.id') }},
            {{ json_field('item', 'customer_id') }}
        ) as user_id,
        {{ json_field('item', 'customer_identifiers.cio_id') }} as cio_id,
        {{ json_field('item', 'customer_identifiers.email') }} as email,
        coalesce({{ json_field('item', 'delivery_id') }}, {{ json_field('item', 'data.delivery_id') }}) as delivery_id,
        {{ json_field('item', 'delivery_type') }} as delivery_type,
        {{ json_field('item', 'name') }} as name,
        {{ json_field('item', 'url') }} as url,
        {{ text_to_boolean(json_field('item', 'data.delivered')) }} as is_delivered,
        {{ text_to_boolean(json_field('item', 'data.opened')) }} as is_opened,
        {{ json_member('payload', 'data') }} as data,
        payload,
        extracted_at
    from items

)

select * from final
