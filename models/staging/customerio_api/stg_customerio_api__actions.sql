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
            'name', 'type', 'subject', 'preheader_text', 'body', 'url', 'sending_state', 'language',
            'created', 'updated',
        ]) }} as item
    from source
    where entity = 'actions'

),

final as (

    select
        case
            when split_part(_scope, '/', 1) = 'campaigns' then {{ text_to_bigint("split_part(_scope, '/', 2)") }}
        end as campaign_id,
        case
            when split_part(_scope, '/', 1) = 'broadcasts' then {{ text_to_bigint("split_part(_scope, '/', 2)") }}
        end as broadcast_id,
        {{ text_to_bigint("split_part(key, '/', 3)") }} as action_id,
        {{ json_field('item', 'name') }} as name,
        {{ json_field('item', 'type') }} as action_type,
        {{ json_field('item', 'subject') }} as subject,
        {{ json_field('item', 'preheader_text') }} as preheader,
        {{ json_field('item', 'body') }} as body,
        {{ json_field('item', 'url') }} as url,
        {{ json_field('item', 'sending_state') }} as sending_state,
        {{ json_field('item', 'language') }} as language,
        {{ json_time('item', 'created') }} as created_at,
        {{ json_time('item', 'updated') }} as updated_at,
        payload,
        extracted_at
    from items

)

select * from final
